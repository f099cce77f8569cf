"""What the teams API takes and gives."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from insula.core.errors import Conflict
from insula.core.events import Changed, Event
from insula.core.ids import describe
from insula.core.permissions import Role
from insula.core.schemas import TEXT, TEXT_WANTED, WANTED, Change, Email, Name, PersonName, Read, Timestamp, Write
from insula.features.organizations.schemas import MemberId

TeamId = Annotated[str, describe("tea", "a team")]
TeamName = Annotated[Name, Meta(examples=["Web shop"])]
Description = Annotated[
    str,
    Meta(
        max_length=1000,
        pattern=TEXT,
        description="What the team is for.",
        examples=["Builds and runs the shop."],
        extra={WANTED: TEXT_WANTED},
    ),
]


class TeamCreate(Write, frozen=True, kw_only=True):
    """A new team."""

    name: TeamName
    description: Description = ""


class TeamUpdate(Change, frozen=True, kw_only=True):
    """The fields of a team to change."""

    name: TeamName | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class TeamRead(Read, frozen=True):
    """A team."""

    id: TeamId
    name: TeamName
    description: Description
    created_at: Timestamp
    updated_at: Timestamp
    deleted_at: Timestamp | None
    version: int


class TeamMemberRead(Read, frozen=True):
    """A member of a team, as the organization knows them."""

    member_id: MemberId
    name: PersonName
    email: Email
    role: Role
    created_at: Annotated[Timestamp, Meta(description="When the member came into the team.")]


class TeamNameTaken(Conflict):
    """Another team of the organization has this name; case and spacing do not tell names apart."""

    pointer = "/name"
    code, title = "team_name_taken", "Another team has this name"


class TeamCreated(Event, frozen=True, kw_only=True):
    """A team was made."""

    TYPE = "team.created"
    TARGET = "team"

    name: str
    description: str


class TeamUpdated(Changed, frozen=True, kw_only=True):
    """A team's fields changed."""

    TYPE = "team.updated"
    TARGET = "team"
    CHANGE = TeamUpdate


class TeamDeleted(Event, frozen=True, kw_only=True):
    """A team was deleted; it can be restored for a while. What it owned belongs to no team once it cannot."""

    TYPE = "team.deleted"
    TARGET = "team"

    name: str


class TeamRestored(Event, frozen=True, kw_only=True):
    """A deleted team is back, with its members and what it owned."""

    TYPE = "team.restored"
    TARGET = "team"

    name: str


class TeamMemberAdded(Event, frozen=True, kw_only=True):
    """A member came into a team."""

    TYPE = "team.member_added"
    TARGET = "team"

    member_id: str


class TeamMemberRemoved(Event, frozen=True, kw_only=True):
    """A member was taken out of a team, and is still a member of the organization."""

    TYPE = "team.member_removed"
    TARGET = "team"

    member_id: str


EVENTS = (TeamCreated, TeamUpdated, TeamDeleted, TeamRestored, TeamMemberAdded, TeamMemberRemoved)
