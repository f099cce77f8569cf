"""Where organizations and members are stored and found."""

from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa

from insula.core import events
from insula.core.db import Transaction
from insula.core.errors import NotFound, UnknownReference
from insula.core.etags import ETags
from insula.core.ids import TypeID, new_uuid
from insula.core.listing import Filter, Listing, Prefix, normalize
from insula.core.queries import Query, columns_of
from insula.core.repository import Repository
from insula.core.schemas import Read
from insula.features.organizations.models import ID_PREFIX, MEMBER_PREFIX, Membership, Organization
from insula.features.organizations.schemas import MemberRead, MyOrganization, OrganizationCreate, OrganizationRead

_CREATE: Final = "SELECT app.create_organization($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10::text::jsonb)"
_CLAIM_SLUG: Final = "SELECT app.claim_slug($1)"


class OrganizationRepository(Repository[Organization]):
    """The organization of the transaction, for changing it."""

    model_type = Organization

    async def now(self) -> datetime:
        """The database's time: by its clock the purge decides what can no longer be restored.

        Of this moment, and not of the transaction's start: once the organization is locked, a purge that it may have
        waited for is over, or has not begun.
        """
        now: datetime = (await self.session.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        return now


class MembershipRepository(Repository[Membership]):
    """Members, for changing them."""

    model_type = Membership

    async def referred_to(self, member_id: str, pointer: str, version: ETags | None) -> Membership:
        """The member that a body names at ``pointer``. Raises UnknownReference when there is none, and as ``get``."""
        try:
            return await self.get(member_id, version=version)
        except NotFound as error:
            raise UnknownReference(pointer) from error

    async def has_owner_beside(self, member: Membership) -> bool:
        """Whether somebody else is an active owner."""
        others = sa.select(Membership.id).where(
            Membership.role == "owner", Membership.status == "active", Membership.id != member.id
        )
        return await self.session.scalar(others.limit(1)) is not None


class _Founder(Read, frozen=True):
    name: str


_USER = sa.table("user", sa.column("name", sa.Text), schema="app")
_FOUNDER = Query(sa.select(_USER.c.name), _Founder)  # row security leaves nobody but the transaction's user


async def create_organization(
    db: Transaction, secret_hash: bytes, data: OrganizationCreate, *, slugs: list[str], most: int
) -> str:
    """Ask the door for a new organization; returns its verdict. After ``created`` the transaction is inside of it."""
    founder = await _FOUNDER.one_or_none(db)
    assert founder is not None
    driver = await db.flush()
    verdict: str = await driver.fetchval(
        _CREATE,
        secret_hash,
        new_uuid(),
        new_uuid(),
        [new_uuid() for _ in range(2)],
        data.name,
        slugs,
        msgspec.json.encode(data.metadata).decode(),
        normalize(founder.name),
        most,
        msgspec.json.encode(events.context(db.facts)).decode(),
    )
    return verdict


async def claim_slug(db: Transaction, slug: str) -> None:
    """Take the slug for the transaction's organization; a taken one is refused by the database."""
    driver = await db.flush()
    await driver.execute(_CLAIM_SLUG, slug)


_ORGANIZATIONS = Organization.__table__.c
_MEMBERS = Membership.__table__.c
_SELECT_MEMBERS = sa.select(*columns_of(Membership, MemberRead))

ORGANIZATION = Query(  # likewise
    sa.select(*columns_of(Organization, OrganizationRead)).where(_ORGANIZATIONS.deleted_at.is_(None)), OrganizationRead
)

_MINE = sa.func.app.my_organizations().table_valued(
    sa.column("id", TypeID(ID_PREFIX)),
    sa.column("name", sa.Text),
    sa.column("slug", sa.Text),
    sa.column("status", sa.Text),
    sa.column("restorable_until", sa.DateTime(timezone=True)),
    sa.column("member_id", TypeID(MEMBER_PREFIX)),
    sa.column("role", sa.Text),
    sa.column("member_status", sa.Text),
    sa.column("joined_at", sa.DateTime(timezone=True)),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("version", sa.BigInteger),
    name="mine",
)

MY_ORGANIZATIONS = Listing(
    sa.select(*(_MINE.c[name] for name in MyOrganization.__struct_fields__)),
    MyOrganization,
    key=_MINE.c.id,
    sorts={"created_at": _MINE.c.id},
    filters={"role": Filter(_MINE.c.role), "status": Filter(_MINE.c.status)},
)

MEMBER = Query(_SELECT_MEMBERS.where(_MEMBERS.id == sa.bindparam("id", type_=_MEMBERS.id.type)), MemberRead)

MEMBERS = Listing(
    _SELECT_MEMBERS,
    MemberRead,
    key=_MEMBERS.id,
    sorts={"created_at": _MEMBERS.id, "name": _MEMBERS.name_norm, "email": _MEMBERS.email_norm},
    filters={
        "role": Filter(_MEMBERS.role),
        "status": Filter(_MEMBERS.status),
        "user_id": Filter(_MEMBERS.user_id),
        "name_prefix": Prefix(_MEMBERS.name_norm),
        "email_prefix": Prefix(_MEMBERS.email_norm),
    },
)
