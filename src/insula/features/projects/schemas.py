"""What the projects API takes and gives."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from insula.core.errors import Conflict
from insula.core.events import Changed, Event
from insula.core.ids import describe
from insula.core.schemas import END, WANTED, Change, Metadata, Name, Read, Timestamp, Write

ProjectId = Annotated[str, describe("prj", "a project")]
TeamId = Annotated[str, describe("tea", "a team")]
OwningTeam = Annotated[TeamId | None, Meta(examples=[None])]
"""No team, to whoever tries the documentation's examples: the one of such an id would be unknown."""
ProjectStatus = Literal["active", "paused", "archived"]
ProjectKey = Annotated[
    str,
    Meta(
        pattern="^[A-Z][A-Z0-9]{1,9}" + END,
        description="Short name in capitals, unique in the organization.",
        examples=["WEB"],
        extra={WANTED: "2 to 10 capital letters and digits, beginning with a letter, such as WEB"},
    ),
]


class ProjectCreate(Write, frozen=True, kw_only=True):
    """A new project."""

    name: Name
    key: ProjectKey
    status: ProjectStatus = "active"
    team_id: OwningTeam = None
    metadata: Metadata = {}  # noqa: RUF012  # msgspec copies it


class ProjectUpdate(Change, frozen=True, kw_only=True):
    """The fields of a project to change."""

    name: Name | UnsetType = UNSET
    key: ProjectKey | UnsetType = UNSET
    status: ProjectStatus | UnsetType = UNSET
    team_id: OwningTeam | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class ProjectRead(Read, frozen=True):
    """A project."""

    id: ProjectId
    name: Name
    key: ProjectKey
    status: ProjectStatus
    team_id: Annotated[str, describe("tea", "the team that owns it, which may be a deleted one")] | None
    metadata: Metadata
    created_by: Annotated[str, describe("mem", "the member who made it")] | None
    created_at: Timestamp
    updated_at: Timestamp
    deleted_at: Timestamp | None
    version: int


class ProjectKeyTaken(Conflict):
    """Another project of the organization has this key."""

    pointer = "/key"
    code, title = "project_key_taken", "Another project has this key"


class ProjectCreated(Event, frozen=True, kw_only=True):
    """A project was made."""

    TYPE = "project.created"
    TARGET = "project"

    name: str
    key: str
    status: ProjectStatus
    team_id: str | None
    metadata: Metadata


class ProjectUpdated(Changed, frozen=True, kw_only=True):
    """A project's fields changed."""

    TYPE = "project.updated"
    TARGET = "project"
    CHANGE = ProjectUpdate


class ProjectDeleted(Event, frozen=True, kw_only=True):
    """A project was deleted; it can be restored for a while."""

    TYPE = "project.deleted"
    TARGET = "project"

    name: str
    key: str


class ProjectRestored(Event, frozen=True, kw_only=True):
    """A deleted project is back."""

    TYPE = "project.restored"
    TARGET = "project"

    name: str
    key: str


EVENTS = (ProjectCreated, ProjectUpdated, ProjectDeleted, ProjectRestored)
