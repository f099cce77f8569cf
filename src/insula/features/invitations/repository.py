"""Where invitations are stored and found."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from insula.core.db import Transaction
from insula.core.etags import tag_of
from insula.core.ids import TypeID, to_uuid
from insula.core.keyed import compared
from insula.core.listing import Filter, Listing, Prefix
from insula.core.queries import Query
from insula.core.repository import Repository
from insula.core.schemas import Read
from insula.features.invitations.models import ID_PREFIX, Invitation
from insula.features.invitations.schemas import InvitationRead, MyInvitation
from insula.features.organizations.models import Membership, Organization

_ARM: Final = "SELECT app.arm_invitations($1, $2)"
_DISARM: Final = "SELECT app.disarm_invitations($1)"


class InvitationRepository(Repository[Invitation]):
    """Invitations, for changing them."""

    model_type = Invitation

    async def tag_of(self, row: Invitation) -> str | None:
        """Of what its reader saw: that its time is over, or that its inviter may not invite any more, is part of it."""
        return tag_of(await INVITATION.one_or_none(self._db, id=row.id))

    async def pending_for(self, addresses: Collection[str]) -> Sequence[Invitation]:
        """What is pending for these normalised addresses, expired ones included, locked."""
        statement = (
            sa.select(Invitation)
            .where(Invitation.status == "pending", Invitation.email_norm.in_(addresses))
            .order_by(Invitation.id)  # two batches that meet here wait for each other in one order
        )
        return await self.locked(statement)

    async def members_among(self, addresses: Collection[str]) -> set[str]:
        """Those of these normalised addresses that belong to members of this organization."""
        statement = sa.select(Membership.email_norm).where(Membership.email_norm.in_(addresses))
        return set((await self.session.scalars(statement)).all())


async def arm(db: Transaction, digests: dict[str, bytes]) -> None:
    """Make the tokens with these digests, by invitation, worth something; earlier ones are dead."""
    driver = await db.flush()
    await driver.execute(_ARM, _uuids(digests), list(digests.values()))


async def disarm(db: Transaction, invitations: Collection[str]) -> None:
    """Revoke the tokens of invitations that are closed."""
    driver = await db.flush()
    await driver.execute(_DISARM, _uuids(invitations))


def _uuids(invitations: Collection[str]) -> list[Any]:
    return [to_uuid(ID_PREFIX, invitation) for invitation in invitations]


_INVITATIONS = Invitation.__table__.c
_INVITER = Membership.__table__.alias("inviter")
_WITH_INVITER = sa.and_(_INVITER.c.tenant_id == _INVITATIONS.tenant_id, _INVITER.c.id == _INVITATIONS.invited_by)
_OVER = _INVITATIONS.expires_at <= sa.func.now()
_STATUS = sa.case((sa.and_(_INVITATIONS.status == "pending", _OVER), "expired"), else_=_INVITATIONS.status)
_ACCEPTABLE = sa.and_(
    _INVITATIONS.status == "pending",
    ~_OVER,
    _INVITER.c.status == "active",
    sa.func.app.may_grant(_INVITER.c.role, _INVITATIONS.role),
)
_COMPUTED = {"status": _STATUS, "acceptable": sa.func.coalesce(_ACCEPTABLE, False)}
_SELECT = sa.select(
    *(
        _COMPUTED[name].label(name) if name in _COMPUTED else _INVITATIONS[name]
        for name in InvitationRead.__struct_fields__
    )
).join_from(Invitation, _INVITER, _WITH_INVITER, isouter=True)


class _HonestStatus(Filter):
    """The status as it is by now; the stored one only narrows the search, for which there is an index."""

    def clause(self, name: str) -> sa.ColumnElement[bool]:
        stored = sa.bindparam(f"{name}_stored", type_=sa.ARRAY(sa.Text))
        wanted: Any = sa.bindparam(name, type_=sa.Text)
        return sa.and_(compared(self.column, "=", sa.any_(stored)), wanted == _STATUS)

    def binds(self, name: str, value: str) -> dict[str, Any]:
        return {name: value, f"{name}_stored": ["pending", "expired"] if value == "expired" else [value]}


INVITATION = Query(_SELECT.where(_INVITATIONS.id == sa.bindparam("id", type_=_INVITATIONS.id.type)), InvitationRead)

_ONE_OF = Query(
    _SELECT.where(_INVITATIONS.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid)))).order_by(_INVITATIONS.id),
    InvitationRead,
)

INVITATIONS = Listing(
    _SELECT,
    InvitationRead,
    key=_INVITATIONS.id,
    sorts={"created_at": _INVITATIONS.id, "email": _INVITATIONS.email_norm},
    filters={"status": _HonestStatus(_INVITATIONS.status), "email_prefix": Prefix(_INVITATIONS.email_norm)},
)


async def these(db: Transaction, invitations: Collection[str]) -> list[InvitationRead]:
    """The invitations with these ids, oldest first."""
    return await _ONE_OF.all(db, ids=_uuids(invitations))


class Letter(Read, frozen=True):
    """What the letter of an invitation says."""

    email: str
    email_norm: str
    role: str
    credential_id: str
    expires_at: datetime
    inviter_name: str
    organization_id: str
    organization_name: str


_ORGANIZATIONS = Organization.__table__.c

LETTER = Query(
    sa.select(
        _INVITATIONS.email,
        _INVITATIONS.email_norm,
        _INVITATIONS.role,
        _INVITATIONS.credential_id,
        _INVITATIONS.expires_at,
        _INVITER.c.name.label("inviter_name"),
        _ORGANIZATIONS.id.label("organization_id"),
        _ORGANIZATIONS.name.label("organization_name"),
    )
    .join_from(Invitation, _INVITER, _WITH_INVITER)
    .join(Organization, _ORGANIZATIONS.id == _INVITATIONS.tenant_id)
    .where(
        _INVITATIONS.id == sa.bindparam("id", type_=_INVITATIONS.id.type),
        _INVITATIONS.sendings == sa.bindparam("sending", type_=sa.BigInteger),
        _ACCEPTABLE,
        _ORGANIZATIONS.deleted_at.is_(None),
    ),
    Letter,
)

_MINE = sa.func.app.my_invitations().table_valued(
    sa.column("id", TypeID(ID_PREFIX)),
    sa.column("organization_id", TypeID("org")),
    sa.column("organization_name", sa.Text),
    sa.column("inviter_name", sa.Text),
    sa.column("role", sa.Text),
    sa.column("expires_at", sa.DateTime(timezone=True)),
    sa.column("created_at", sa.DateTime(timezone=True)),
    name="mine",
)

MY_INVITATIONS = Listing(
    sa.select(*(_MINE.c[name] for name in MyInvitation.__struct_fields__)),
    MyInvitation,
    key=_MINE.c.id,
    sorts={"created_at": _MINE.c.id},
)
