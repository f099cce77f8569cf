"""What an organization's record says about the organization itself and about its members."""

from insula.core.events import Changed, Event
from insula.core.schemas import Metadata, Timestamp
from insula.features.organizations.schemas import MemberUpdate, OrganizationUpdate


class OrganizationCreated(Event, frozen=True, kw_only=True):
    """An organization was made."""

    TYPE = "organization.created"
    TARGET = "organization"

    name: str
    slug: str
    metadata: Metadata


class OrganizationUpdated(Changed, frozen=True, kw_only=True):
    """An organization's fields changed."""

    TYPE = "organization.updated"
    TARGET = "organization"
    CHANGE = OrganizationUpdate


class OrganizationDeleted(Event, frozen=True, kw_only=True):
    """An organization was deleted; an owner can restore it for a while."""

    TYPE = "organization.deleted"
    TARGET = "organization"

    restorable_until: Timestamp


class OrganizationRestored(Event, frozen=True, kw_only=True):
    """A deleted organization is back."""

    TYPE = "organization.restored"
    TARGET = "organization"


class OrganizationDataPurged(Event, frozen=True, kw_only=True):
    """What could not be restored any more, or was over long ago, is gone for good: ``count`` of a ``kind``."""

    TYPE = "organization.data_purged"
    TARGET = "organization"

    kind: str
    count: int


class OrganizationPurged(Event, frozen=True, kw_only=True):
    """Everything of an organization is gone for good."""

    TYPE = "organization.purged"
    TARGET = "organization"


class OwnershipTransferred(Event, frozen=True, kw_only=True):
    """An owner handed the organization to another member and is an admin now."""

    TYPE = "organization.ownership_transferred"
    TARGET = "organization"

    from_member_id: str
    to_member_id: str


class AboutMember(Event, frozen=True, kw_only=True):
    """Something that happened to a member, with who that was then."""

    TARGET = "member"
    PERSONAL = frozenset({"name", "email"})

    name: str
    email: str


class MemberAdded(AboutMember, frozen=True, kw_only=True):
    """Somebody became a member."""

    TYPE = "member.added"

    user_id: str
    role: str


class MemberUpdated(Changed, frozen=True, kw_only=True):
    """A member's role or profile changed."""

    TYPE = "member.updated"
    TARGET = "member"
    CHANGE = MemberUpdate
    PERSONAL = frozenset({"name"})


class MemberWasSuspended(AboutMember, frozen=True, kw_only=True):
    """A member may not enter for now."""

    TYPE = "member.suspended"


class MemberReinstated(AboutMember, frozen=True, kw_only=True):
    """A suspended member may enter again."""

    TYPE = "member.reinstated"


class MemberRemoved(AboutMember, frozen=True, kw_only=True):
    """A member was put out of the organization."""

    TYPE = "member.removed"

    user_id: str
    role: str


class MemberLeft(AboutMember, frozen=True, kw_only=True):
    """A member left the organization."""

    TYPE = "member.left"

    user_id: str
    role: str


EVENTS = (
    OrganizationCreated,
    OrganizationUpdated,
    OrganizationDeleted,
    OrganizationRestored,
    OrganizationDataPurged,
    OrganizationPurged,
    OwnershipTransferred,
    MemberAdded,
    MemberUpdated,
    MemberWasSuspended,
    MemberReinstated,
    MemberRemoved,
    MemberLeft,
)
