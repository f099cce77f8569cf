"""The functions app_identity may execute; each call is a transaction of its own, so none is open in between."""

from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from insula.core import clock, tokens
from insula.core.db import Database
from insula.core.ids import new_uuid, to_text, to_uuid
from insula.core.keyring import Keyring
from insula.core.listing import normalize
from insula.core.permissions import Facts
from insula.core.schemas import Task
from insula.core.tracing import current
from insula.features.identity.models import ID_PREFIX as USER
from insula.features.identity.models import SESSION_PREFIX
from insula.features.identity.schemas import (
    MeRead,
    SendPasswordChanged,
    SendReset,
    SendVerification,
    SessionStarted,
    SignUp,
)
from insula.features.identity.sessions import SessionTerms, recorded

_SIGN_UP: Final = "SELECT app.sign_up($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9)"
_RESEND_VERIFICATION: Final = "SELECT app.resend_verification($1, $2, $3, $4::text::jsonb, $5)"
_VERIFICATION_RECIPE: Final = "SELECT app.verification_recipe($1)"
_VERIFY_SIGN_UP: Final = "SELECT * FROM app.verify_sign_up($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)"
_SIGN_IN_RECIPE: Final = "SELECT app.sign_in_recipe($1)"
_SIGN_IN: Final = "SELECT * FROM app.sign_in($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)"
_RENEW_HASH: Final = "SELECT app.renew_hash($1, $2, $3)"
_SIGN_OUT: Final = "SELECT app.sign_out($1, $2::text::jsonb)"
_ASK_RESET: Final = "SELECT app.ask_reset($1, $2, $3, $4::text::jsonb, $5)"
_RESET_OWNER: Final = "SELECT * FROM app.reset_owner($1)"
_RESET: Final = "SELECT app.reset_password($1, $2, $3, $4::text::jsonb, $5, $6::text::jsonb)"
_OWNER_OF_SESSION: Final = "SELECT * FROM app.password_of_session($1)"
_CHANGE: Final = "SELECT app.change_password($1, $2, $3, $4, $5::text::jsonb, $6, $7::text::jsonb)"


class Owner(msgspec.Struct, frozen=True):
    """Whose password it is, and the recipe of the one they have."""

    email: str
    name: str
    recipe: str | None = None


class IdentityDoors:
    """Everything that happens before somebody is signed in, as the database knows it.

    ``facts`` is where the request came from; a session remembers it, and so does the person's record. Addresses are
    taken as typed.
    """

    def __init__(self, database: Database, keyring: Keyring, terms: SessionTerms, facts: Facts) -> None:
        self._database, self._keyring, self._terms, self._facts = database, keyring, terms, facts

    async def sign_up(self, data: SignUp, password_hash: str) -> None:
        """Make an account to be verified, or write to the one there is: nobody learns which."""
        user_id, credential = new_uuid(), tokens.credential_id()
        letter = self._letter(SendVerification(credential_id=credential))
        email, name = data.email, data.name
        await self._call(_SIGN_UP, user_id, email, normalize(email), name, password_hash, _key(credential), *letter)

    async def resend_verification(self, email: str) -> None:
        """Write once more to an address that signed up and did not verify."""
        credential = tokens.credential_id()
        letter = self._letter(SendVerification(credential_id=credential))
        await self._call(_RESEND_VERIFICATION, normalize(email), _key(credential), *letter)

    async def verification_recipe(self, token: str) -> str | None:
        """How the password of a sign-up was hashed; None when the token is not worth anything."""
        found = await self._call(_VERIFICATION_RECIPE, self._digest(token))
        return found[0]  # type: ignore[no-any-return]

    async def verify_sign_up(self, token: str, answer: str, replaced: str | None) -> SessionStarted | None:
        """Activate an account and open its first session; None when token and password do not fit."""
        return await self._open_session(_VERIFY_SIGN_UP, self._digest(token), answer, replaced)

    async def sign_in_recipe(self, email: str) -> str | None:
        """How the password of an account was hashed; None when there is none."""
        found = await self._call(_SIGN_IN_RECIPE, normalize(email))
        return found[0]  # type: ignore[no-any-return]

    async def sign_in(self, email: str, answer: str, replaced: str | None) -> SessionStarted | None:
        """Open a session; None for whatever reason there is not to."""
        return await self._open_session(_SIGN_IN, normalize(email), answer, replaced)

    async def renew_hash(self, user_id: str, old: str, new: str) -> None:
        """Store another hash of the same password."""
        await self._call(_RENEW_HASH, to_uuid(USER, user_id), old, new)

    async def sign_out(self, token: str) -> str | None:
        """End a session; returns whose it was, None when it was over."""
        return _user_id(await self._call(_SIGN_OUT, self._digest(token), recorded(self._facts)))

    async def ask_reset(self, email: str) -> None:
        """Write to the address's owner how to set a new password, if it has an account."""
        credential = tokens.credential_id()
        await self._call(
            _ASK_RESET, normalize(email), _key(credential), *self._letter(SendReset(credential_id=credential))
        )

    async def reset_owner(self, token: str) -> Owner | None:
        """Whose password a token may set; None when it is not worth anything."""
        found = await self._call(_RESET_OWNER, self._digest(token))
        return Owner(*found) if found else None

    async def reset_password(self, token: str, password_hash: str) -> str | None:
        """Set a new password, once; returns whose, None when the token is not worth anything any more."""
        return _user_id(await self._call(_RESET, self._digest(token), password_hash, *self._change()))

    async def password_of_session(self, token: str) -> Owner | None:
        """Whose session it is; None when it is over."""
        found = await self._call(_OWNER_OF_SESSION, self._digest(token))
        return Owner(*found) if found else None

    async def change_password(self, token: str, answer: str, password_hash: str) -> str | None:
        """Set a new password; returns whose, None when the session is over or ``answer`` is not the current one."""
        return _user_id(await self._call(_CHANGE, self._digest(token), answer, password_hash, *self._change()))

    async def _open_session(
        self, door: str, who: str | bytes, answer: str, replaced: str | None
    ) -> SessionStarted | None:
        session = self._terms.begin(self._keyring, self._facts, replaced)
        person = await self._call(door, who, answer, *session.binds)
        return None if person["id"] is None else session.of(_me(person))

    def _change(self) -> tuple[Any, ...]:
        """What doors take of a new password beside it: the letter about it, and where it came from."""
        return *self._letter(SendPasswordChanged(changed_at=clock.now())), recorded(self._facts)

    def _letter(self, task: Task) -> tuple[UUID, str, str | None]:
        """A job as doors take it: id, payload, trace; which task it is, the door says."""
        return new_uuid(), msgspec.json.encode(task).decode(), current(self._facts.trace_id)

    def _digest(self, token: str) -> bytes:
        return self._keyring.digest(token)

    async def _call(self, door: str, *arguments: Any) -> asyncpg.Record:
        async with self._database.transaction(read_only=True) as db:
            found = await db.driver.fetchrow(door, *arguments)
            await db.commit()
        return found


def _key(credential: str) -> UUID:
    return to_uuid(SESSION_PREFIX, credential)


def _user_id(found: asyncpg.Record) -> str | None:
    return to_text(USER, found[0]) if found[0] else None


def _me(person: asyncpg.Record) -> MeRead:
    return MeRead(
        id=to_text(USER, person["id"]),
        name=person["name"],
        email=person["email"],
        created_at=person["created_at"],
        updated_at=person["updated_at"],
        version=person["version"],
    )
