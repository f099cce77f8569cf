"""What people do to get in, to stay safe, and to look after their account."""

from contextlib import suppress

import structlog

from insula.core import metrics
from insula.core.db import Transaction
from insula.core.errors import NotFound, RateLimited, Unauthenticated
from insula.core.etags import ETags
from insula.core.events import changed, record
from insula.core.passwords import Passwords, outdated
from insula.core.permissions import Principal
from insula.core.tokens import well_formed
from insula.features.identity.doors import IdentityDoors
from insula.features.identity.models import User
from insula.features.identity.repository import UserRepository, revoke_session, revoke_sessions
from insula.features.identity.schemas import (
    AccountUpdated,
    CurrentPasswordWrong,
    LinkInvalid,
    MeUpdate,
    PasswordChange,
    Reset,
    SessionRevoked,
    SessionStarted,
    SignIn,
    SignInFailed,
    SignUp,
    Verification,
)

_log = structlog.get_logger("insula.identity")


class SignUpService:
    """Takes people in. An account comes to life by two proofs: the mailed token, and the password of that sign-up."""

    def __init__(self, doors: IdentityDoors, passwords: Passwords) -> None:
        self._doors, self._passwords = doors, passwords

    async def sign_up(self, data: SignUp) -> None:
        """Ask for an account; what happens next is in a letter. Raises PasswordRefused."""
        await self._passwords.require_good(data.password, about=(data.email, data.name))
        await self._doors.sign_up(data, await self._passwords.hash(data.password))
        _happened("sign_up", "asked")

    async def resend_verification(self, email: str) -> None:
        """Ask for the letter again."""
        await self._doors.resend_verification(email)

    async def verify(self, data: Verification, replaced: str | None) -> SessionStarted:
        """Finish a sign-up and be signed in. Raises LinkInvalid and, for another password, SignInFailed."""
        known = well_formed(data.token, "verification")
        recipe = await self._doors.verification_recipe(data.token) if known else None
        if recipe is None:
            _happened("verification", "link_invalid")
            raise LinkInvalid
        answer = await self._passwords.answer(data.password, recipe)
        started = await self._doors.verify_sign_up(data.token, answer, replaced)
        if started is None:
            _happened("verification", "refused")
            raise SignInFailed("This is not the password of the sign-up that the link belongs to. You can reset it.")
        _happened("verification", "accepted", user_id=started.user.id)
        return started


class SignInService:
    """Opens and ends sessions. Every failure looks the same and costs the same."""

    def __init__(self, doors: IdentityDoors, passwords: Passwords) -> None:
        self._doors, self._passwords = doors, passwords

    async def sign_in(self, data: SignIn, replaced: str | None) -> SessionStarted:
        """Open a session, ending the one in ``replaced``. Raises SignInFailed."""
        recipe = await self._doors.sign_in_recipe(data.email)
        answer = await self._passwords.answer(data.password, recipe)
        started = await self._doors.sign_in(data.email, answer, replaced)
        if started is None:
            _happened("sign_in", "refused")
            raise SignInFailed
        _happened("sign_in", "accepted", user_id=started.user.id)
        if recipe is not None and outdated(recipe):
            await self._renew(started.user.id, data.password, answer)
        return started

    async def sign_out(self, token: str) -> None:
        """End the session; that it was over already is no failure."""
        user_id = await self._doors.sign_out(token)
        _happened("session", "signed_out" if user_id else "over", user_id=user_id)

    async def _renew(self, user_id: str, password: str, old: str) -> None:
        with suppress(RateLimited):  # too busy now: the next sign-in will do it
            await self._doors.renew_hash(user_id, old, await self._passwords.hash(password))


class PasswordService:
    """Sets new passwords, by right of a mailed token or of the current password."""

    def __init__(self, doors: IdentityDoors, passwords: Passwords) -> None:
        self._doors, self._passwords = doors, passwords

    async def ask_reset(self, email: str) -> None:
        """Ask for a letter with a link. An address without an account gets none: anybody may type any address."""
        await self._doors.ask_reset(email)
        _happened("reset", "asked")

    async def reset(self, data: Reset) -> None:
        """Set a new password; every session ends. Raises LinkInvalid and PasswordRefused."""
        owner = await self._doors.reset_owner(data.token) if well_formed(data.token, "reset") else None
        if owner is None:
            _happened("reset", "link_invalid")
            raise LinkInvalid
        await self._passwords.require_good(data.password, about=(owner.email, owner.name))
        user_id = await self._doors.reset_password(data.token, await self._passwords.hash(data.password))
        if user_id is None:  # somebody else was quicker
            _happened("reset", "link_invalid")
            raise LinkInvalid
        _happened("password", "reset", user_id=user_id)

    async def change(self, token: str, data: PasswordChange) -> None:
        """Replace the password of the session's owner; every other session ends.

        Raises Unauthenticated, PasswordRefused, and Unprocessable for a wrong current password.
        """
        owner = await self._doors.password_of_session(token)
        if owner is None:
            raise Unauthenticated
        about, current = (owner.email, owner.name), data.current_password
        await self._passwords.require_good(data.new_password, about, "/new_password", current=current)
        answer = await self._passwords.answer(data.current_password, owner.recipe)
        user_id = await self._doors.change_password(token, answer, await self._passwords.hash(data.new_password))
        if user_id is None and await self._doors.password_of_session(token) is None:  # it ended meanwhile
            raise Unauthenticated
        if user_id is None:
            _happened("password", "refused")
            raise CurrentPasswordWrong
        _happened("password", "changed", user_id=user_id)


class MeService:
    """Looks after one's own account and sessions; inside the signed context, so that nobody else's can be meant."""

    def __init__(self, db: Transaction, principal: Principal) -> None:
        self._db, self._principal = db, principal

    async def change(self, data: MeUpdate, version: ETags | None) -> User:
        """Change the fields that were sent. The profiles that organizations keep stay as they are."""
        assert self._principal.user_id is not None
        me = await UserRepository(self._db).get(self._principal.user_id, version=version)
        before, after = changed(me, data.changes())
        await self._db.flush()
        if after:
            record(self._db, AccountUpdated(target_id=me.id, before=before, after=after))
            _log.info("user changed", user_id=me.id, fields=sorted(after))
        return me

    async def revoke_session(self, session_id: str) -> None:
        """End one session. Raises NotFound."""
        self._db.ask_again = None  # it may be this one
        if not await revoke_session(self._db, session_id):
            raise NotFound
        record(self._db, SessionRevoked(target_id=session_id))
        _happened("session", "revoked", user_id=self._principal.user_id)

    async def revoke_sessions(self, *, include_current: bool) -> int:
        """End all others, or all; returns how many."""
        self._db.ask_again = None  # this one too, perhaps
        revoked = await revoke_sessions(self._db, None if include_current else self._principal.credential_id)
        for session_id in revoked:
            record(self._db, SessionRevoked(target_id=session_id))
        _happened("session", "revoked", user_id=self._principal.user_id, count=len(revoked))
        return len(revoked)


def _happened(kind: str, outcome: str, **facts: object) -> None:
    """Count and log, without secrets; what changed something is in the person's own record as well."""
    metrics.AUTH.labels(kind, outcome).inc()
    _log.info(f"{kind} {outcome}", **facts)
