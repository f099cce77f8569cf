"""What the organizations API takes and gives."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from insula.core.errors import Conflict, Forbidden, Unprocessable
from insula.core.ids import describe
from insula.core.permissions import Role
from insula.core.schemas import WANTED, Change, Email, Metadata, OrganizationName, PersonName, Read, Timestamp, Write

OrganizationId = Annotated[str, describe("org", "an organization")]
MemberId = Annotated[str, describe("mem", "a member")]
UserId = Annotated[str, describe("usr", "the person, the same in every organization")]
OrganizationStatus = Literal["active", "suspended", "deleted"]
MemberStatus = Literal["active", "suspended"]
GivenRole = Annotated[Role, Meta(examples=["member"])]
"""Whoever tries the documentation's examples makes nobody an owner."""
Slug = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=63,
        pattern=r"^[a-z0-9](-?[a-z0-9])+$(?!\n)",
        description="The organization's name in addresses; nobody else's at the same time.",
        examples=["acme"],
        extra={WANTED: "lower-case letters, digits and single hyphens between them, such as acme-works"},
    ),
]
RestorableUntil = Annotated[Timestamp | None, Meta(description="Until then an owner can restore it.")]


class OrganizationCreate(Write, frozen=True, kw_only=True):
    """A new organization."""

    name: OrganizationName
    slug: Slug | None = None
    """Made from the name when it is left out."""
    metadata: Metadata = {}  # noqa: RUF012  # msgspec copies it


class OrganizationUpdate(Change, frozen=True, kw_only=True):
    """The fields of an organization to change."""

    name: OrganizationName | UnsetType = UNSET
    slug: Slug | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class OrganizationRead(Read, frozen=True):
    """An organization."""

    id: OrganizationId
    name: OrganizationName
    slug: Slug
    metadata: dict[str, Any]
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class MyOrganization(Read, frozen=True):
    """An organization as one of its members sees it from outside."""

    id: OrganizationId
    name: OrganizationName
    slug: Slug
    status: OrganizationStatus
    restorable_until: RestorableUntil
    member_id: MemberId
    role: Role
    member_status: MemberStatus
    joined_at: Annotated[Timestamp, Meta(description="When you became a member.")]
    created_at: Annotated[Timestamp, Meta(description="When the organization was made: what the list is sorted by.")]
    version: Annotated[int, Meta(description="Of the organization: its ETag, also while it is deleted.")]


class MemberUpdate(Change, frozen=True, kw_only=True):
    """What staff may change of a member."""

    role: GivenRole | UnsetType = UNSET
    name: PersonName | UnsetType = UNSET


class ProfileUpdate(Change, frozen=True, kw_only=True):
    """What members may change of themselves."""

    name: PersonName | UnsetType = UNSET


class OwnershipTransfer(Write, frozen=True, kw_only=True):
    """Who is to be the owner."""

    member_id: MemberId


class MemberRead(Read, frozen=True):
    """A member, as the organization knows them."""

    id: MemberId
    user_id: UserId
    name: PersonName
    email: Email
    role: Role
    status: MemberStatus
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class EmailUnverified(Forbidden):
    """Whoever answers for an organization can be reached."""

    code, title = "email_unverified", "Verify your e-mail address first"


class TooManyOrganizations(Forbidden):
    """Nobody needs so many; somebody who scripts does."""

    code, title = "too_many_organizations", "You own as many organizations as one person may"


class SlugTaken(Conflict):
    """It says no more than that: not whose it is, and not since when."""

    pointer = "/slug"
    code, title = "slug_taken", "This slug is taken"


class SlugReserved(Unprocessable):
    """It would look like ours, or like a path."""

    pointer = "/slug"
    code, title = "slug_reserved", "This slug is reserved"


class RestoreWindowOver(Conflict):
    """Its rows may be gone at any moment."""

    code, title = "restore_window_over", "The organization can no longer be restored"


class RoleAboveYours(Forbidden):
    """Nobody acts on a member above themselves or hands out a role above their own."""

    code, title = "role_above_yours", "You act on no member above you, and give no role above your own"


class LastOwner(Conflict):
    """Without an active owner an organization could be neither managed nor deleted."""

    code, title = "last_owner", "The organization needs another active owner first"


class SuspendsThemselves(Conflict):
    """They could neither come back by themselves nor leave."""

    code, title = "suspends_yourself", "You cannot suspend yourself; you can leave"


class YoursAlready(Unprocessable):
    """Ownership goes to somebody else."""

    pointer = "/member_id"
    code, title = "yours_already", "This is your own membership"


class MemberSuspended(Conflict):
    """Who may not enter cannot own."""

    code, title = "member_suspended", "The member is suspended"
