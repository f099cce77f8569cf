"""Who may do what: built-in roles, the permissions that features declare, the principal, the guard."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec


class Role(StrEnum):
    """The built-in roles."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    BILLING = "billing"
    VIEWER = "viewer"


DESCRIPTIONS: Final = {
    Role.OWNER: "Everything, including deleting the organization and naming its owners.",
    Role.ADMIN: "Manages members, teams, invitations and settings; cannot touch owners.",
    Role.MEMBER: "Works with the organization's resources.",
    Role.BILLING: "Sees the organization and manages its bills.",
    Role.VIEWER: "Sees the organization's resources, changes nothing.",
}

RANK: Final = {Role.OWNER: 3, Role.ADMIN: 2, Role.MEMBER: 1, Role.BILLING: 1, Role.VIEWER: 0}
"""Nobody acts on a role of a higher rank."""

EVERYONE: Final = frozenset(Role)
STAFF: Final = frozenset({Role.OWNER, Role.ADMIN})
WORKERS: Final = STAFF | {Role.MEMBER}
READERS: Final = WORKERS | {Role.VIEWER}
OWNERS: Final = frozenset({Role.OWNER})


class Permission(msgspec.Struct, frozen=True):
    """A right, named ``resource:action``, and the built-in roles that hold it."""

    name: str
    description: str
    roles: frozenset[Role]

    @property
    def of_every_role(self) -> bool:
        """Whether no member can be without it."""
        return self.roles >= EVERYONE


class Permissions:
    """All permissions of the program, as the features declared them."""

    def __init__(self, declared: Iterable[Permission]) -> None:
        self.all = sorted(declared, key=lambda permission: permission.name)
        names = [permission.name for permission in self.all]
        if len(names) != len(set(names)):
            raise ValueError("two permissions share a name")
        self._of_role = {
            role: frozenset(permission.name for permission in self.all if role in permission.roles) for role in Role
        }

    def of(self, role: str) -> frozenset[str]:
        """What a role may do; a role the program does not know may do nothing."""
        return self._of_role.get(Role(role), frozenset()) if role in RANK else frozenset()


def may_grant(granter: str, role: str) -> bool:
    """Nobody hands out, changes or takes away a role above their own; billing and member are equals that
    hold different rights, so only staff grants either.
    """
    if granter not in RANK or role not in RANK:
        return False
    return granter in STAFF and RANK[Role(granter)] >= RANK[Role(role)]


class Principal(msgspec.Struct, frozen=True):
    """Who acts: what the door found out about the credential. Ids are TypeIDs."""

    user_id: str | None
    credential_id: str | None
    credential_kind: str
    organization_id: str | None = None
    membership_id: str | None = None
    role: str = ""
    permissions: frozenset[str] = frozenset()
    limits: dict[str, Any] = {}


class Facts(msgspec.Struct, frozen=True):
    """Where a request came from; recorded with every event."""

    request_id: str = ""
    ip: str | None = None
    user_agent: str | None = None
    trace_id: str | None = None
