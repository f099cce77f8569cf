"""The functions an invitation's holder reaches: with the mailed token alone, or signed in."""

from typing import Any, Final

import asyncpg
import msgspec

from insula.core import events
from insula.core.db import Database, Transaction
from insula.core.ids import new_id, new_uuid, to_text, to_uuid
from insula.core.keyring import Keyring
from insula.core.listing import normalize
from insula.core.permissions import Facts
from insula.features.identity.models import ID_PREFIX as USER
from insula.features.identity.models import SESSION_PREFIX
from insula.features.identity.schemas import MeRead
from insula.features.identity.sessions import SessionTerms
from insula.features.invitations.models import ID_PREFIX
from insula.features.invitations.schemas import InvitationPreview, Joined, JoinedAndSignedIn
from insula.features.organizations.models import ID_PREFIX as ORGANIZATION
from insula.features.organizations.models import MEMBER_PREFIX

_PREVIEW: Final = "SELECT * FROM app.preview_invitation($1)"
_JOIN: Final = (
    "SELECT * FROM app.join_by_invitation($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::text::jsonb)"
)
_DECLINE: Final = "SELECT app.decline_invitation($1)"
_DECLINE_MINE: Final = "SELECT app.decline_my_invitation($1, $2, $3::text::jsonb)"
_ACCEPT: Final = "SELECT * FROM app.accept_invitation($1, $2, $3, $4, $5, $6, $7::text::jsonb)"


class Verdict(msgspec.Struct, frozen=True):
    """What a door said, in its own words, and to which address the invitation went, where it was found."""

    word: str
    email: str | None = None


class NewPerson(msgspec.Struct, frozen=True):
    """Who signs up by an invitation; ``replaced`` is the session that their browser showed."""

    name: str
    password_hash: str
    replaced: str | None


class HolderDoors:
    """What app_identity may do for somebody who has a mailed token and no session; each call is a transaction."""

    def __init__(self, database: Database, keyring: Keyring, terms: SessionTerms, facts: Facts) -> None:
        self._database, self._keyring, self._terms, self._facts = database, keyring, terms, facts

    async def preview(self, token: str) -> InvitationPreview | Verdict:
        """What the token offers, or why it offers nothing."""
        async with self._database.transaction(read_only=True) as db:
            found = await db.driver.fetchrow(_PREVIEW, self._digest(token))
        if found["verdict"] != "open":
            return Verdict(found["verdict"] or "unknown")
        return InvitationPreview(*(found[name] for name in InvitationPreview.__struct_fields__))

    async def join(self, token: str, person: NewPerson, most: int) -> JoinedAndSignedIn | Verdict:
        """Make an account, a membership and a session, or nothing at all."""
        member = new_id(MEMBER_PREFIX)
        session = self._terms.begin(self._keyring, self._facts, person.replaced)
        async with self._database.transaction(read_only=True) as db:
            found = await db.driver.fetchrow(
                _JOIN,
                self._digest(token), new_uuid(), person.name, normalize(person.name),
                person.password_hash, most, to_uuid(MEMBER_PREFIX, member), *session.binds,
            )  # fmt: skip
            if found["verdict"] != "admitted":
                return Verdict(found["verdict"])
            await db.commit()
        started = session.of(_me(found["joined"]))
        return JoinedAndSignedIn(_joined(found, member), started)

    async def decline(self, token: str) -> str:
        """Close the invitation; returns the door's verdict."""
        async with self._database.transaction(read_only=True) as db:
            verdict: str = await db.driver.fetchval(_DECLINE, self._digest(token))
            await db.commit()
        return verdict

    def _digest(self, token: str) -> bytes:
        return self._keyring.digest(token)


async def accept(
    db: Transaction, me: MeRead, most: int, *, token_digest: bytes | None = None, invitation_id: str | None = None
) -> Joined | Verdict:
    """Accept as the transaction's user: by the mailed token, or by id what is for their own address."""
    assert db.principal is not None
    assert db.principal.credential_id is not None
    member = new_id(MEMBER_PREFIX)
    driver = await db.flush()
    found = await driver.fetchrow(
        _ACCEPT,
        token_digest,
        to_uuid(ID_PREFIX, invitation_id) if invitation_id else None,
        normalize(me.name),
        most,
        to_uuid(MEMBER_PREFIX, member),
        to_uuid(SESSION_PREFIX, db.principal.credential_id),
        _json(events.context(db.facts)),
    )
    assert found is not None
    return _joined(found, member) if found["verdict"] == "admitted" else Verdict(found["verdict"], found["email"])


async def decline(db: Transaction, invitation_id: str) -> str:
    """Decline, as the transaction's user, what is for their own address; returns the door's verdict."""
    assert db.principal is not None
    assert db.principal.credential_id is not None
    driver = await db.flush()
    verdict: str = await driver.fetchval(
        _DECLINE_MINE,
        to_uuid(ID_PREFIX, invitation_id),
        to_uuid(SESSION_PREFIX, db.principal.credential_id),
        _json(events.context(db.facts)),
    )
    return verdict


def _joined(found: asyncpg.Record, member: str) -> Joined:
    return Joined(to_text(ORGANIZATION, found["organization"]), member, found["role"])


def _me(person: asyncpg.Record) -> MeRead:
    return MeRead(to_text(USER, person["id"]), *(person[name] for name in MeRead.__struct_fields__[1:]))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
