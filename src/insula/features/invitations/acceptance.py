"""What the holder of an invitation does with it."""

from collections.abc import Callable
from typing import Final

from insula.core.db import Transaction
from insula.core.errors import DomainError, MembershipSuspended, NotFound
from insula.core.keyring import Keyring
from insula.core.passwords import Passwords
from insula.core.quotas import LimitReached
from insula.core.tokens import well_formed
from insula.features.identity.repository import ME
from insula.features.identity.schemas import LinkInvalid, MeRead
from insula.features.invitations.doors import HolderDoors, NewPerson, Verdict, accept, decline
from insula.features.invitations.schemas import (
    AlreadyMember,
    InvitationClosed,
    InvitationOver,
    InvitationPreview,
    InvitationSignUp,
    InvitationUsed,
    Joined,
    JoinedAndSignedIn,
    SignInFirst,
    WrongAccount,
)
from insula.features.organizations.schemas import EmailUnverified

_REFUSALS: Final[dict[str, Callable[[], DomainError]]] = {
    "unknown": LinkInvalid,
    "accepted": InvitationUsed,
    "expired": InvitationOver,
    "declined": lambda: InvitationClosed("It has been declined."),
    "revoked": lambda: InvitationClosed("It has been withdrawn."),
    "inviter_gone": lambda: InvitationClosed("Whoever sent it may not do so any more; ask for it to be sent again."),
    "organization_closed": lambda: InvitationClosed("The organization takes nobody in at present."),
    "sign_in_first": SignInFirst,
    "email_unverified": EmailUnverified,
    "already_member": AlreadyMember,
    "member_suspended": MembershipSuspended,
    "limit_reached": lambda: LimitReached("The organization has as many members as it may have."),
}


class HolderService:
    """For somebody who has the letter and no session. Looking at an invitation never accepts it."""

    def __init__(self, doors: HolderDoors, passwords: Passwords, most: int) -> None:
        self._doors, self._passwords, self._most = doors, passwords, most

    async def preview(self, token: str) -> InvitationPreview:
        """What the token offers. Raises LinkInvalid and InvitationClosed."""
        found = await self._doors.preview(_checked(token))
        if isinstance(found, Verdict):
            raise _refusal(found)
        return found

    async def join(self, data: InvitationSignUp, replaced: str | None) -> JoinedAndSignedIn:
        """Make an account and a membership. Raises SignInFirst, PasswordRefused, LimitReached, and as ``preview``."""
        offer = await self.preview(data.token)
        if offer.has_account:
            raise SignInFirst
        await self._passwords.require_good(data.password, about=(offer.email, data.name))
        person = NewPerson(data.name, await self._passwords.hash(data.password), replaced)
        found = await self._doors.join(data.token, person, self._most)
        if isinstance(found, Verdict):
            raise _refusal(found)
        return found

    async def decline(self, token: str) -> None:
        """Say no. Raises LinkInvalid and InvitationClosed."""
        verdict = await self._doors.decline(_checked(token))
        if verdict != "done":
            raise _refusal(Verdict(verdict))


class MyInvitationService:
    """For somebody who is signed in. Only their own, verified address lets them in anywhere."""

    def __init__(self, db: Transaction, keyring: Keyring, most: int) -> None:
        self._db, self._keyring, self._most = db, keyring, most

    async def accept(self, token: str) -> Joined:
        """Accept with the mailed token. Raises WrongAccount, AlreadyMember, LimitReached, and as a preview."""
        digest = self._keyring.digest(_checked(token))
        found = await accept(self._db, await self._me(), self._most, token_digest=digest)
        if isinstance(found, Verdict):
            raise _refusal(found)
        return found

    async def accept_mine(self, invitation_id: str) -> Joined:
        """Accept what is for one's own address. Raises NotFound for anything else, and as ``accept``."""
        found = await accept(self._db, await self._me(), self._most, invitation_id=invitation_id)
        if isinstance(found, Verdict):
            raise NotFound if found.word == "unknown" else _refusal(found)
        return found

    async def decline_mine(self, invitation_id: str) -> None:
        """Decline what is for one's own address. Raises NotFound for anything else, and InvitationClosed."""
        verdict = await decline(self._db, invitation_id)
        if verdict != "done":
            raise NotFound if verdict == "unknown" else _refusal(Verdict(verdict))

    async def _me(self) -> MeRead:
        assert self._db.principal is not None
        me = await ME.one_or_none(self._db, id=self._db.principal.user_id)
        assert me is not None
        return me


def _checked(token: str) -> str:
    if not well_formed(token, "invitation"):
        raise LinkInvalid
    return token


def _refusal(verdict: Verdict) -> DomainError:
    if verdict.word == "wrong_account":
        return WrongAccount(
            f"It was sent to {verdict.email}. Sign out and accept it with that address, or ask for one to yours."
        )
    return _REFUSALS[verdict.word]()
