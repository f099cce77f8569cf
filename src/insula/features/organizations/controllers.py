"""Organizations and members over HTTP."""

from datetime import timedelta
from typing import Any, Final

from litestar import Controller, Request, delete, get, patch, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from insula.core.db import Transaction
from insula.core.errors import NotDeleted, NotFound, UnknownReference
from insula.core.etags import ETags
from insula.core.http.door import PRESENTED
from insula.core.listing import Page, PageRequest
from insula.core.permissions import Principal, Role
from insula.core.schemas import Search
from insula.features.organizations.permissions import (
    DELETE,
    MANAGE_MEMBERS,
    OWN_PROFILE,
    READ,
    READ_MEMBERS,
    TRANSFER,
    UPDATE,
)
from insula.features.organizations.repository import MEMBER, MEMBERS, MY_ORGANIZATIONS, ORGANIZATION
from insula.features.organizations.schemas import (
    EmailUnverified,
    LastOwner,
    MemberId,
    MemberRead,
    MemberStatus,
    MemberSuspended,
    MemberUpdate,
    MyOrganization,
    OrganizationCreate,
    OrganizationRead,
    OrganizationStatus,
    OrganizationUpdate,
    OwnershipTransfer,
    ProfileUpdate,
    RestoreWindowOver,
    RoleAboveYours,
    SlugReserved,
    SlugTaken,
    SuspendsThemselves,
    TooManyOrganizations,
    UserId,
    YoursAlready,
)
from insula.features.organizations.service import MemberService, OrganizationService

_ONE: Final = "/v1/organizations/{organization_id:str}"


def provide_organizations(db: NamedDependency[Transaction]) -> OrganizationService:
    return OrganizationService(db)


def provide_members(db: NamedDependency[Transaction]) -> MemberService:
    return MemberService(db)


class OrganizationController(Controller):
    """Organizations: making, naming, deleting and restoring them."""

    tags = ["Organizations"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {"organizations": Provide(provide_organizations, sync_to_thread=False)}  # noqa: RUF012

    @post(
        "/v1/organizations",
        authenticated_only="whoever makes an organization is in none yet",
        refusals=[EmailUnverified, SlugReserved, SlugTaken, TooManyOrganizations],
    )
    async def create_organization(
        self,
        request: Request[Any, Any, Any],
        state: State,
        organizations: NamedDependency[OrganizationService],
        data: JSONBody[OrganizationCreate],
    ) -> OrganizationRead:
        """Create an organization; you become its owner."""
        shown = request.scope[PRESENTED]  # type: ignore[typeddict-item]
        return await organizations.found(data, state.keyring.digest(shown.token))

    @get("/v1/me/organizations", authenticated_only="everybody may see where they belong", listing=MY_ORGANIZATIONS)
    async def list_my_organizations(
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        role: FromQuery[Role | None] = None,
        status: FromQuery[OrganizationStatus | None] = None,
    ) -> Page[MyOrganization]:
        """List your organizations, deleted ones included as long as they are there."""
        return await MY_ORGANIZATIONS.page(db, page, role=role, status=status)

    @get(_ONE, permission=READ, stale_ok=True)
    async def get_organization(self, db: NamedDependency[Transaction]) -> OrganizationRead:
        """Get an organization."""
        organization = await ORGANIZATION.one_or_none(db)
        if organization is None:
            raise NotFound
        return organization

    @patch(_ONE, permission=UPDATE, refusals=[SlugReserved, SlugTaken])
    async def update_organization(
        self,
        organizations: NamedDependency[OrganizationService],
        version: NamedDependency[ETags | None],
        data: JSONBody[OrganizationUpdate],
    ) -> OrganizationRead:
        """Change an organization."""
        return OrganizationRead.of(await organizations.change(data, version))

    @delete(_ONE, permission=DELETE)
    async def delete_organization(
        self, state: State, organizations: NamedDependency[OrganizationService], version: NamedDependency[ETags | None]
    ) -> None:
        """Delete an organization; it can be restored for a while."""
        await organizations.delete(version, timedelta(days=state.settings.organization_restore_days))

    @post(
        f"{_ONE}/restoration",
        permission=DELETE,
        deleted_organization=True,
        status_code=200,
        refusals=[NotDeleted, RestoreWindowOver],
    )
    async def restore_organization(
        self, organizations: NamedDependency[OrganizationService], version_if_sent: NamedDependency[ETags | None]
    ) -> OrganizationRead:
        """Restore a deleted organization."""
        return OrganizationRead.of(await organizations.restore(version_if_sent))


class MemberController(Controller):
    """The members of an organization, and the caller as one of them."""

    path = _ONE
    tags = ["Members"]  # noqa: RUF012
    dependencies = {"members": Provide(provide_members, sync_to_thread=False)}  # noqa: RUF012

    @get("/members", permission=READ_MEMBERS, listing=MEMBERS, stale_ok=True)
    async def list_members(  # noqa: PLR0913, PLR0917  # a parameter per filter
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        role: FromQuery[Role | None] = None,
        status: FromQuery[MemberStatus | None] = None,
        user_id: FromQuery[UserId | None] = None,
        name_prefix: FromQuery[Search | None] = None,
        email_prefix: FromQuery[Search | None] = None,
    ) -> Page[MemberRead]:
        """List members; `user_id` finds the one whom an event names as its actor."""
        given = {"role": role, "status": status, "user_id": user_id}
        return await MEMBERS.page(db, page, **given, name_prefix=name_prefix, email_prefix=email_prefix)

    @get("/members/me", permission=OWN_PROFILE)
    async def get_own_member(
        self, db: NamedDependency[Transaction], principal: NamedDependency[Principal]
    ) -> MemberRead:
        """Get your own membership."""
        return await _found_member(db, str(principal.membership_id))

    @patch("/members/me", permission=OWN_PROFILE)
    async def update_own_member(
        self,
        members: NamedDependency[MemberService],
        version: NamedDependency[ETags | None],
        data: JSONBody[ProfileUpdate],
    ) -> MemberRead:
        """Change how this organization knows you."""
        return MemberRead.of(await members.rename(data, version))

    @get("/members/{member_id:str}", permission=READ_MEMBERS, stale_ok=True)
    async def get_member(self, db: NamedDependency[Transaction], member_id: FromPath[MemberId]) -> MemberRead:
        """Get a member."""
        return await _found_member(db, member_id)

    @patch("/members/{member_id:str}", permission=MANAGE_MEMBERS, refusals=[LastOwner, RoleAboveYours])
    async def update_member(
        self,
        members: NamedDependency[MemberService],
        member_id: FromPath[MemberId],
        version: NamedDependency[ETags | None],
        data: JSONBody[MemberUpdate],
    ) -> MemberRead:
        """Change a member's role or name."""
        return MemberRead.of(await members.change(member_id, data, version))

    @delete("/members/{member_id:str}", permission=MANAGE_MEMBERS, refusals=[LastOwner, RoleAboveYours])
    async def remove_member(
        self,
        members: NamedDependency[MemberService],
        member_id: FromPath[MemberId],
        version: NamedDependency[ETags | None],
    ) -> None:
        """Remove a member; what they made remains."""
        await members.remove(member_id, version)

    @post(
        "/members/{member_id:str}/suspension",
        permission=MANAGE_MEMBERS,
        status_code=200,
        refusals=[LastOwner, RoleAboveYours, SuspendsThemselves],
    )
    async def suspend_member(
        self,
        members: NamedDependency[MemberService],
        member_id: FromPath[MemberId],
        version_if_sent: NamedDependency[ETags | None],
    ) -> MemberRead:
        """Suspend a member: their next request is refused."""
        return MemberRead.of(await members.suspend(member_id, version_if_sent))

    @post(
        "/members/{member_id:str}/reinstatement", permission=MANAGE_MEMBERS, status_code=200, refusals=[RoleAboveYours]
    )
    async def reinstate_member(
        self,
        members: NamedDependency[MemberService],
        member_id: FromPath[MemberId],
        version_if_sent: NamedDependency[ETags | None],
    ) -> MemberRead:
        """Let a suspended member in again."""
        return MemberRead.of(await members.reinstate(member_id, version_if_sent))

    @post("/departure", permission=OWN_PROFILE, status_code=204, refusals=[LastOwner])
    async def leave_organization(
        self, members: NamedDependency[MemberService], version_if_sent: NamedDependency[ETags | None]
    ) -> None:
        """Leave the organization.

        `If-Match` is about your own membership, which ends.
        """
        await members.leave(version_if_sent)

    @post(
        "/ownership-transfer",
        permission=TRANSFER,
        gives_up="who transfers the ownership has it no more",
        status_code=200,
        refusals=[MemberSuspended, RoleAboveYours, UnknownReference, YoursAlready],
    )
    async def transfer_ownership(
        self,
        members: NamedDependency[MemberService],
        version_if_sent: NamedDependency[ETags | None],
        data: JSONBody[OwnershipTransfer],
    ) -> MemberRead:
        """Make another member the owner in your place; you become an admin.

        `If-Match` is about that other member, whom the answer shows.
        """
        return MemberRead.of(await members.transfer_ownership(data.member_id, version_if_sent))


async def _found_member(db: Transaction, member_id: str) -> MemberRead:
    member = await MEMBER.one_or_none(db, id=member_id)
    if member is None:
        raise NotFound
    return member


CONTROLLERS = (OrganizationController, MemberController)
