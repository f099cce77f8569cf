"""Roles and permissions over HTTP."""

from litestar import Controller, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from insula.core.permissions import DESCRIPTIONS, EVERYONE, RANK, Permission, Principal, Role, may_grant
from insula.features.access.schemas import (
    AccessRead,
    PermissionList,
    PermissionRead,
    RoleList,
    RoleRead,
)

READ = Permission("access:read", "See roles and permissions, and one's own.", EVERYONE)
PERMISSIONS = (READ,)


class AccessController(Controller):
    """Who may do what in an organization."""

    path = "/v1/organizations/{organization_id:str}"
    tags = ["Access"]  # noqa: RUF012  # Litestar's declaration

    @get("/permissions", permission=READ)
    async def list_permissions(self, state: State) -> PermissionList:
        """List all permissions and the roles that hold them."""
        return PermissionList(
            [
                PermissionRead(
                    permission.name, permission.description, [role for role in Role if role in permission.roles]
                )
                for permission in state.permissions.all
            ]
        )

    @get("/roles", permission=READ)
    async def list_roles(self, state: State) -> RoleList:
        """List all roles and what they may do."""
        return RoleList(
            [RoleRead(role, DESCRIPTIONS[role], RANK[role], sorted(state.permissions.of(role))) for role in Role]
        )

    @get("/access", permission=READ)
    async def get_access(self, principal: NamedDependency[Principal]) -> AccessRead:
        """Get your own role and what it allows."""
        return AccessRead(
            member_id=str(principal.membership_id),
            role=Role(principal.role),
            permissions=sorted(principal.permissions),
            grantable_roles=[role for role in Role if may_grant(principal.role, role)],
        )


CONTROLLERS = (AccessController,)
