"""What the access API gives."""

from typing import Annotated

from msgspec import Meta

from insula.core.ids import describe
from insula.core.permissions import Role
from insula.core.schemas import Read

PermissionName = Annotated[str, Meta(description="`resource:action`", examples=["projects:read"])]
RoleName = Annotated[Role, Meta(description="A built-in role.")]


class PermissionRead(Read, frozen=True):
    """A right, and the roles that hold it."""

    name: PermissionName
    description: Annotated[str, Meta(examples=["See projects."])]
    roles: list[RoleName]


class PermissionList(Read, frozen=True):
    """Every permission there is."""

    data: list[PermissionRead]


class RoleRead(Read, frozen=True):
    """A role. Nobody grants a role of a higher rank than their own, or acts on a member who holds one."""

    name: RoleName
    description: Annotated[str, Meta(examples=["Works with the organization's resources."])]
    rank: int
    permissions: list[PermissionName]


class RoleList(Read, frozen=True):
    """Every role there is, the most powerful first."""

    data: list[RoleRead]


class AccessRead(Read, frozen=True):
    """What the caller may do in the organization, with the credential of this request."""

    member_id: Annotated[str, describe("mem", "the caller's membership")]
    role: RoleName
    permissions: list[PermissionName]
    grantable_roles: Annotated[list[RoleName], Meta(description="The roles the caller may give to others.")]
