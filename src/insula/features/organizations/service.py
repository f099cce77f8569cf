"""What people do with organizations and their members."""

from datetime import timedelta
from typing import Final

from insula.core.db import Transaction
from insula.core.errors import (
    DomainError,
    MembershipSuspended,
    PermissionMissing,
    Unauthenticated,
)
from insula.core.etags import ETags
from insula.core.events import changed, record, record_denied
from insula.core.permissions import Permission, Principal, Role, may_grant
from insula.features.organizations.events import (
    MemberLeft,
    MemberReinstated,
    MemberRemoved,
    MemberUpdated,
    MemberWasSuspended,
    OrganizationDeleted,
    OrganizationRestored,
    OrganizationUpdated,
    OwnershipTransferred,
)
from insula.features.organizations.models import Membership, Organization
from insula.features.organizations.permissions import DELETE, MANAGE_MEMBERS, UPDATE
from insula.features.organizations.repository import (
    ORGANIZATION,
    MembershipRepository,
    OrganizationRepository,
    claim_slug,
    create_organization,
)
from insula.features.organizations.schemas import (
    EmailUnverified,
    LastOwner,
    MemberSuspended,
    MemberUpdate,
    OrganizationCreate,
    OrganizationRead,
    OrganizationUpdate,
    ProfileUpdate,
    RestoreWindowOver,
    RoleAboveYours,
    SlugReserved,
    SlugTaken,
    SuspendsThemselves,
    TooManyOrganizations,
    YoursAlready,
)
from insula.features.organizations.slugs import RESERVED, candidates

OWNED_AT_MOST: Final = 100
"""Organizations one person may own."""

_REFUSALS: Final[dict[str, type[DomainError]]] = {
    "unauthenticated": Unauthenticated,
    "email_unverified": EmailUnverified,
    "limit_reached": TooManyOrganizations,
    "slug_taken": SlugTaken,
}


class OrganizationService:
    """Founds organizations, and changes, deletes and restores the one of the transaction."""

    def __init__(self, db: Transaction) -> None:
        self._db = db
        self._organizations = OrganizationRepository(db)

    async def found(self, data: OrganizationCreate, secret_hash: bytes) -> OrganizationRead:
        """Make an organization whose owner is the caller; the door wants to see their secret once more.

        Raises EmailUnverified, TooManyOrganizations and SlugTaken.
        """
        slugs = candidates(data.name) if data.slug is None else [_allowed(data.slug)]
        verdict = await create_organization(self._db, secret_hash, data, slugs=slugs, most=OWNED_AT_MOST)
        if verdict != "created":
            raise _REFUSALS[verdict]
        organization = await ORGANIZATION.one_or_none(self._db)
        assert organization is not None
        return organization

    async def change(self, data: OrganizationUpdate, version: ETags | None) -> Organization:
        """Change the fields that were sent; a taken slug is refused by the database."""
        organization = await self._get(UPDATE, version=version)
        values = data.changes()
        was, slug = organization.slug, str(values.pop("slug", organization.slug))
        if slug != was:
            await claim_slug(self._db, _allowed(slug))
            organization.renamed(slug)
        before, after = changed(organization, values)
        if slug != was:
            before["slug"], after["slug"] = was, slug
        if after:
            await self._db.flush()
            record(self._db, OrganizationUpdated(target_id=organization.id, before=before, after=after))
        return organization

    async def delete(self, version: ETags | None, window: timedelta) -> None:
        """Close the organization; an owner can restore it within ``window``."""
        organization = await self._get(DELETE, version=version)
        organization.delete(await self._organizations.now(), window)
        assert organization.restorable_until is not None
        record(
            self._db,
            OrganizationDeleted(target_id=organization.id, restorable_until=organization.restorable_until),
        )

    async def restore(self, version: ETags | None) -> Organization:
        """Reopen a deleted organization. Raises NotDeleted and RestoreWindowOver."""
        organization = await self._get(DELETE, version=version, deleted=True)
        if not organization.restorable(await self._organizations.now()):
            raise RestoreWindowOver
        organization.restore()
        await self._db.flush()
        record(self._db, OrganizationRestored(target_id=organization.id))
        return organization

    async def _get(self, right: Permission, *, version: ETags | None = None, deleted: bool = False) -> Organization:
        """The organization, locked. Whoever waited for that may have lost their ``right`` to it meanwhile."""
        principal = _principal(self._db)
        organization = await self._organizations.get(str(principal.organization_id), version=version, deleted=deleted)
        actor = await _acting(self._db)
        if actor.role not in right.roles:
            record_denied(self._db, right.name)
            raise PermissionMissing(right.name)
        return organization


class MemberService:
    """Changes, suspends and removes the members of an organization, and lets them go.

    Verbs that touch authority lock the organization first: those that run at once take turns, and each sees who is
    what by then. So nobody acts with a role they have just lost, and two owners cannot depose each other.
    """

    def __init__(self, db: Transaction) -> None:
        self._db = db
        self._members = MembershipRepository(db)

    async def change(self, member_id: str, data: MemberUpdate, version: ETags | None) -> Membership:
        """Change a member's role or profile. Raises RoleAboveYours and LastOwner."""
        actor = await self._actor()
        member = await self._members.get(member_id, version=version)
        values = data.changes()
        role = str(values.get("role", member.role))
        self._require_authority(actor, member.role, role)
        if role != Role.OWNER:
            await self._require_owner_beside(member)
        return await self._update(member, values)

    async def rename(self, data: ProfileUpdate, version: ETags | None) -> Membership:
        """Change how the organization knows the caller."""
        member = await self._members.get(str(_principal(self._db).membership_id), version=version)
        return await self._update(member, data.changes())

    async def suspend(self, member_id: str, version: ETags | None) -> Membership:
        """Keep a member out for now. Raises RoleAboveYours, SuspendsThemselves and LastOwner."""
        actor = await self._actor()
        member = await self._members.get(member_id, version=version)
        self._require_authority(actor, member.role)
        await self._require_owner_beside(member)
        if member.id == actor.id:
            raise SuspendsThemselves
        if member.status != "suspended":
            member.status = "suspended"
            await self._db.flush()
            record(self._db, MemberWasSuspended(target_id=member.id, **_who(member)))
        return member

    async def reinstate(self, member_id: str, version: ETags | None) -> Membership:
        """Let a suspended member in again. Raises RoleAboveYours."""
        actor = await self._actor()
        member = await self._members.get(member_id, version=version)
        self._require_authority(actor, member.role)
        if member.status != "active":
            member.status = "active"
            await self._db.flush()
            record(self._db, MemberReinstated(target_id=member.id, **_who(member)))
        return member

    async def remove(self, member_id: str, version: ETags | None) -> None:
        """Put a member out; their places in teams end with it. Raises RoleAboveYours and LastOwner."""
        actor = await self._actor()
        member = await self._members.get(member_id, version=version)
        self._require_authority(actor, member.role)
        await self._require_owner_beside(member)
        await self._members.delete(member)
        record(self._db, MemberRemoved(target_id=member.id, user_id=member.user_id, role=member.role, **_who(member)))

    async def leave(self, version: ETags | None) -> None:
        """End the caller's own membership. Raises LastOwner."""
        member = await self._actor(version)
        await self._require_owner_beside(member)
        await self._members.delete(member)
        record(self._db, MemberLeft(target_id=member.id, user_id=member.user_id, role=member.role, **_who(member)))

    async def transfer_ownership(self, member_id: str, version: ETags | None) -> Membership:
        """Make another member an owner and the caller an admin. Raises RoleAboveYours and MemberSuspended."""
        actor = await self._actor()
        self._require_authority(actor, Role.OWNER)
        heir = await self._members.referred_to(member_id, "/member_id", version)
        if heir is actor:
            raise YoursAlready
        if heir.status != "active":
            raise MemberSuspended
        await self._update(heir, {"role": Role.OWNER})
        await self._update(actor, {"role": Role.ADMIN})
        record(
            self._db,
            OwnershipTransferred(
                target_id=str(_principal(self._db).organization_id), from_member_id=actor.id, to_member_id=heir.id
            ),
        )
        return heir

    async def _actor(self, version: ETags | None = None) -> Membership:
        """Lock the organization, then whoever acts: as they are now, not as they were at the door."""
        await OrganizationRepository(self._db).get(str(_principal(self._db).organization_id))
        return await _acting(self._db, version)

    def _require_authority(self, actor: Membership, *roles: str) -> None:
        for role in roles:
            if not may_grant(actor.role, role):
                record_denied(self._db, MANAGE_MEMBERS.name, "role_above_theirs")
                raise RoleAboveYours

    async def _require_owner_beside(self, member: Membership) -> None:
        if member.leads and not await self._members.has_owner_beside(member):
            raise LastOwner

    async def _update(self, member: Membership, values: dict[str, object]) -> Membership:
        before, after = changed(member, values)
        if after:
            await self._db.flush()
            record(self._db, MemberUpdated(target_id=member.id, before=before, after=after))
        return member


async def _acting(db: Transaction, version: ETags | None = None) -> Membership:
    """The caller's membership as it is now; the organization is locked."""
    actor = await MembershipRepository(db).get(str(_principal(db).membership_id), version=version)
    if actor.status != "active":
        raise MembershipSuspended
    db.ask_again = None  # nobody changes what is locked
    return actor


def _who(member: Membership) -> dict[str, str]:
    return {"name": member.name, "email": member.email}


def _allowed(slug: str) -> str:
    if slug in RESERVED:
        raise SlugReserved
    return slug


def _principal(db: Transaction) -> Principal:
    assert db.principal is not None
    return db.principal
