"""Projects over HTTP."""

from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from insula.core.db import Transaction
from insula.core.errors import NotDeleted, NotFound, UnknownReference
from insula.core.etags import ETags
from insula.core.listing import Page, PageRequest
from insula.core.permissions import READERS, STAFF, WORKERS, Permission, Principal
from insula.core.quotas import LimitReached
from insula.core.schemas import Search
from insula.features.projects.repository import DELETED_PROJECTS, PROJECT, PROJECTS
from insula.features.projects.schemas import (
    ProjectCreate,
    ProjectId,
    ProjectKey,
    ProjectKeyTaken,
    ProjectRead,
    ProjectStatus,
    ProjectUpdate,
    TeamId,
)
from insula.features.projects.service import ProjectService

READ = Permission("projects:read", "See projects.", READERS)
WRITE = Permission("projects:write", "Create and change projects.", WORKERS)
DELETE = Permission("projects:delete", "Delete and restore projects.", STAFF)
PERMISSIONS = (READ, WRITE, DELETE)


def provide_projects(db: NamedDependency[Transaction]) -> ProjectService:
    return ProjectService(db)


class ProjectController(Controller):
    """The projects of an organization."""

    path = "/v1/organizations/{organization_id:str}"
    tags = ["Projects"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {"projects": Provide(provide_projects, sync_to_thread=False)}  # noqa: RUF012

    @get("/projects", permission=READ, listing=PROJECTS, stale_ok=True)
    async def list_projects(  # noqa: PLR0913, PLR0917  # a parameter per filter
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        status: FromQuery[ProjectStatus | None] = None,
        team_id: FromQuery[TeamId | None] = None,
        key: FromQuery[ProjectKey | None] = None,
        name_prefix: FromQuery[Search | None] = None,
    ) -> Page[ProjectRead]:
        """List projects."""
        return await PROJECTS.page(db, page, status=status, team_id=team_id, key=key, name_prefix=name_prefix)

    @get("/deleted-projects", permission=DELETE, listing=DELETED_PROJECTS, stale_ok=True)
    async def list_deleted_projects(
        self, db: NamedDependency[Transaction], page: NamedDependency[PageRequest]
    ) -> Page[ProjectRead]:
        """List the projects that can be restored.

        Those deleted in the last 30 days; older ones are gone for good.
        """
        return await DELETED_PROJECTS.page(db, page)

    @get("/projects/{project_id:str}", permission=READ, stale_ok=True)
    async def get_project(self, db: NamedDependency[Transaction], project_id: FromPath[ProjectId]) -> ProjectRead:
        """Get a project."""
        project = await PROJECT.one_or_none(db, id=project_id)
        if project is None:
            raise NotFound
        return project

    @post("/projects", permission=WRITE, refusals=[LimitReached, ProjectKeyTaken, UnknownReference])
    async def create_project(
        self,
        projects: NamedDependency[ProjectService],
        principal: NamedDependency[Principal],
        data: JSONBody[ProjectCreate],
    ) -> ProjectRead:
        """Create a project."""
        return ProjectRead.of(await projects.start(data, created_by=principal.membership_id))

    @patch("/projects/{project_id:str}", permission=WRITE, refusals=[ProjectKeyTaken, UnknownReference])
    async def update_project(
        self,
        projects: NamedDependency[ProjectService],
        project_id: FromPath[ProjectId],
        version: NamedDependency[ETags | None],
        data: JSONBody[ProjectUpdate],
    ) -> ProjectRead:
        """Change a project."""
        return ProjectRead.of(await projects.change(project_id, data, version))

    @delete("/projects/{project_id:str}", permission=DELETE, refusals=[LimitReached])
    async def delete_project(
        self,
        projects: NamedDependency[ProjectService],
        project_id: FromPath[ProjectId],
        version: NamedDependency[ETags | None],
    ) -> None:
        """Delete a project; it can be restored.

        For 30 days; then it is gone for good.
        """
        await projects.delete(project_id, version)

    @post(
        "/deleted-projects/{project_id:str}/restoration",
        permission=DELETE,
        status_code=200,
        refusals=[LimitReached, NotDeleted, ProjectKeyTaken],
    )
    async def restore_project(
        self,
        projects: NamedDependency[ProjectService],
        project_id: FromPath[ProjectId],
        version_if_sent: NamedDependency[ETags | None],
    ) -> ProjectRead:
        """Restore a deleted project.

        Until 30 days after it was deleted: then it is gone for good. Where another one has its key by now, that one
        must have another key first.
        """
        return ProjectRead.of(await projects.restore(project_id, version_if_sent))


CONTROLLERS = (ProjectController,)
