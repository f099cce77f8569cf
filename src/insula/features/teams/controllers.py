"""Teams over HTTP."""

from litestar import Controller, delete, get, patch, post, put
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from insula.core.db import Transaction
from insula.core.errors import NotDeleted, NotFound
from insula.core.etags import ETags
from insula.core.listing import Page, PageRequest
from insula.core.permissions import READERS, STAFF, Permission
from insula.core.quotas import LimitReached
from insula.core.schemas import Search
from insula.features.organizations.repository import MEMBER
from insula.features.organizations.schemas import MemberId
from insula.features.teams.repository import DELETED_TEAMS, TEAM, TEAM_MEMBER, TEAM_MEMBERS, TEAMS, TEAMS_OF_MEMBER
from insula.features.teams.schemas import TeamCreate, TeamId, TeamMemberRead, TeamNameTaken, TeamRead, TeamUpdate
from insula.features.teams.service import TeamService

READ = Permission("teams:read", "See teams and who is in them.", READERS)
WRITE = Permission("teams:write", "Create, change, delete and restore teams and say who is in them.", STAFF)
PERMISSIONS = (READ, WRITE)


def provide_teams(db: NamedDependency[Transaction]) -> TeamService:
    return TeamService(db)


class TeamController(Controller):
    """The teams of an organization."""

    path = "/v1/organizations/{organization_id:str}"
    tags = ["Teams"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {"teams": Provide(provide_teams, sync_to_thread=False)}  # noqa: RUF012

    @get("/teams", permission=READ, listing=TEAMS, stale_ok=True)
    async def list_teams(
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        name_prefix: FromQuery[Search | None] = None,
    ) -> Page[TeamRead]:
        """List teams."""
        return await TEAMS.page(db, page, name_prefix=name_prefix)

    @get("/teams/{team_id:str}", permission=READ, stale_ok=True)
    async def get_team(self, db: NamedDependency[Transaction], team_id: FromPath[TeamId]) -> TeamRead:
        """Get a team."""
        return await _found_team(db, team_id)

    @post("/teams", permission=WRITE, refusals=[LimitReached, TeamNameTaken])
    async def create_team(self, teams: NamedDependency[TeamService], data: JSONBody[TeamCreate]) -> TeamRead:
        """Create a team."""
        return TeamRead.of(await teams.form(data))

    @patch("/teams/{team_id:str}", permission=WRITE, refusals=[TeamNameTaken])
    async def update_team(
        self,
        teams: NamedDependency[TeamService],
        team_id: FromPath[TeamId],
        version: NamedDependency[ETags | None],
        data: JSONBody[TeamUpdate],
    ) -> TeamRead:
        """Change a team."""
        return TeamRead.of(await teams.change(team_id, data, version))

    @delete("/teams/{team_id:str}", permission=WRITE, refusals=[LimitReached])
    async def delete_team(
        self,
        teams: NamedDependency[TeamService],
        team_id: FromPath[TeamId],
        version: NamedDependency[ETags | None],
    ) -> None:
        """Delete a team; it can be restored, and what it owns remains.

        For 30 days; then it is gone for good, and what it owned belongs to no team.
        """
        await teams.dissolve(team_id, version)

    @get("/deleted-teams", permission=WRITE, listing=DELETED_TEAMS, stale_ok=True)
    async def list_deleted_teams(
        self, db: NamedDependency[Transaction], page: NamedDependency[PageRequest]
    ) -> Page[TeamRead]:
        """List the teams that can be restored.

        Those deleted in the last 30 days; older ones are gone for good.
        """
        return await DELETED_TEAMS.page(db, page)

    @post(
        "/deleted-teams/{team_id:str}/restoration",
        permission=WRITE,
        status_code=200,
        refusals=[LimitReached, NotDeleted, TeamNameTaken],
    )
    async def restore_team(
        self,
        teams: NamedDependency[TeamService],
        team_id: FromPath[TeamId],
        version_if_sent: NamedDependency[ETags | None],
    ) -> TeamRead:
        """Restore a deleted team, with its members and what it owned.

        Until 30 days after it was deleted: then it is gone for good. Where another one has its name by now, that one
        must have another name first.
        """
        return TeamRead.of(await teams.restore(team_id, version_if_sent))


class TeamMemberController(Controller):
    """Who is in which team."""

    path = "/v1/organizations/{organization_id:str}"
    tags = ["Teams"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {"teams": Provide(provide_teams, sync_to_thread=False)}  # noqa: RUF012

    @get("/teams/{team_id:str}/members", permission=READ, listing=TEAM_MEMBERS, stale_ok=True)
    async def list_team_members(
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        team_id: FromPath[TeamId],
    ) -> Page[TeamMemberRead]:
        """List the members of a team."""
        await _found_team(db, team_id)
        return await TEAM_MEMBERS.page(db, page, team_id=team_id)

    @put("/teams/{team_id:str}/members/{member_id:str}", permission=WRITE)
    async def add_team_member(
        self,
        db: NamedDependency[Transaction],
        teams: NamedDependency[TeamService],
        team_id: FromPath[TeamId],
        member_id: FromPath[MemberId],
    ) -> TeamMemberRead:
        """Put a member into a team, or leave them there."""
        await teams.take_in(team_id, member_id)
        member = await TEAM_MEMBER.one_or_none(db, team_id=team_id, member_id=member_id)
        if member is None:  # removed from the organization at this very moment
            raise NotFound
        return member

    @delete("/teams/{team_id:str}/members/{member_id:str}", permission=WRITE)
    async def remove_team_member(
        self, teams: NamedDependency[TeamService], team_id: FromPath[TeamId], member_id: FromPath[MemberId]
    ) -> None:
        """Take a member out of a team."""
        await teams.take_out(team_id, member_id)

    @get("/members/{member_id:str}/teams", permission=READ, listing=TEAMS_OF_MEMBER, stale_ok=True)
    async def list_teams_of_member(
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        member_id: FromPath[MemberId],
    ) -> Page[TeamRead]:
        """List the teams a member is in."""
        if await MEMBER.one_or_none(db, id=member_id) is None:
            raise NotFound
        return await TEAMS_OF_MEMBER.page(db, page, member_id=member_id)


async def _found_team(db: Transaction, team_id: str) -> TeamRead:
    team = await TEAM.one_or_none(db, id=team_id)
    if team is None:
        raise NotFound
    return team


CONTROLLERS = (TeamController, TeamMemberController)
