"""What people do with projects."""

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from insula.core import clock
from insula.core.db import Transaction
from insula.core.errors import UnknownReference
from insula.core.etags import ETags
from insula.core.events import changed, record
from insula.core.quotas import Quota
from insula.features.projects.models import Project
from insula.features.projects.repository import ProjectRepository
from insula.features.projects.schemas import (
    ProjectCreate,
    ProjectCreated,
    ProjectDeleted,
    ProjectRestored,
    ProjectUpdate,
    ProjectUpdated,
)
from insula.features.teams.repository import TEAM

QUOTA = Quota("projects", sa.select(Project.id).where(Project.deleted_at.is_(None)))
DELETED = Quota("projects", sa.select(Project.id).where(Project.deleted_at.is_not(None)), deleted=True)


class ProjectService:
    """Starts, changes, deletes and restores the projects of one organization."""

    def __init__(self, db: Transaction) -> None:
        self._db = db
        self._projects = ProjectRepository(db)

    async def start(self, data: ProjectCreate, created_by: str | None) -> Project:
        """Make a project. Raises LimitReached and UnknownReference; a taken key is refused by the database."""
        await QUOTA.require_room(self._db)
        await self._require_team(data.team_id)
        project = await self._projects.add(
            Project(
                name=data.name,
                key=data.key,
                status=data.status,
                team_id=data.team_id,
                metadata_=data.metadata,
                created_by=created_by,
            )
        )
        record(self._db, ProjectCreated(target_id=project.id, **msgspec.structs.asdict(data)))
        return project

    async def change(self, project_id: str, data: ProjectUpdate, version: ETags | None) -> Project:
        """Change the fields that were sent. Raises UnknownReference; a taken key is refused by the database."""
        project = await self._projects.get(project_id, version=version)
        if data.team_id is not UNSET and data.team_id != project.team_id:
            await self._require_team(data.team_id)
        before, after = changed(project, data.changes())
        if after:
            await self._db.flush()
            record(self._db, ProjectUpdated(target_id=project.id, before=before, after=after))
        return project

    async def delete(self, project_id: str, version: ETags | None) -> None:
        """Hide a project; it can be restored for a while. Raises LimitReached where too many wait to be."""
        project = await self._projects.get(project_id, version=version)
        await DELETED.require_room(self._db)
        project.delete(clock.now())
        record(self._db, ProjectDeleted(target_id=project.id, name=project.name, key=project.key))

    async def restore(self, project_id: str, version: ETags | None) -> Project:
        """Bring a deleted project back. Raises NotDeleted, and LimitReached: deleted projects do not count."""
        project = await self._projects.get(project_id, version=version, deleted=True)
        await QUOTA.require_room(self._db)
        project.restore()
        await self._db.flush()
        record(self._db, ProjectRestored(target_id=project.id, name=project.name, key=project.key))
        return project

    async def _require_team(self, team_id: str | None) -> None:
        """A deleted team keeps what it has and gets nothing new. It is not locked: deleting it later is the same."""
        if team_id is not None and await TEAM.one_or_none(self._db, id=team_id) is None:
            raise UnknownReference("/team_id")
