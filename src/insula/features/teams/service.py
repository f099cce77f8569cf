"""What people do with teams."""

import sqlalchemy as sa

from insula.core import clock
from insula.core.db import Transaction
from insula.core.errors import NotFound
from insula.core.etags import ETags
from insula.core.events import changed, record
from insula.core.quotas import Quota
from insula.features.teams.models import Team, TeamMember
from insula.features.teams.repository import TeamMemberRepository, TeamRepository
from insula.features.teams.schemas import (
    TeamCreate,
    TeamCreated,
    TeamDeleted,
    TeamMemberAdded,
    TeamMemberRemoved,
    TeamRestored,
    TeamUpdate,
    TeamUpdated,
)

QUOTA = Quota("teams", sa.select(Team.id).where(Team.deleted_at.is_(None)))
DELETED = Quota("teams", sa.select(Team.id).where(Team.deleted_at.is_not(None)), deleted=True)


class TeamService:
    """Forms, changes, dissolves and restores the teams of one organization, and says who is in them."""

    def __init__(self, db: Transaction) -> None:
        self._db = db
        self._teams = TeamRepository(db)
        self._members = TeamMemberRepository(db)

    async def form(self, data: TeamCreate) -> Team:
        """Make a team. Raises LimitReached; a taken name is refused by the database."""
        await QUOTA.require_room(self._db)
        team = await self._teams.add(Team(name=data.name, description=data.description))
        record(self._db, TeamCreated(target_id=team.id, name=team.name, description=team.description))
        return team

    async def change(self, team_id: str, data: TeamUpdate, version: ETags | None) -> Team:
        """Change the fields that were sent."""
        team = await self._teams.get(team_id, version=version)
        before, after = changed(team, data.changes())
        if after:
            await self._db.flush()
            record(self._db, TeamUpdated(target_id=team.id, before=before, after=after))
        return team

    async def dissolve(self, team_id: str, version: ETags | None) -> None:
        """Hide a team; it can be restored for a while, and until then keeps its members and what it owns.

        Raises LimitReached where too many wait to be.
        """
        team = await self._teams.get(team_id, version=version)
        await DELETED.require_room(self._db)
        team.delete(clock.now())
        record(self._db, TeamDeleted(target_id=team.id, name=team.name))

    async def restore(self, team_id: str, version: ETags | None) -> Team:
        """Bring a deleted team back. Raises NotDeleted, and LimitReached: deleted teams do not count."""
        team = await self._teams.get(team_id, version=version, deleted=True)
        await QUOTA.require_room(self._db)
        team.restore()
        await self._db.flush()
        record(self._db, TeamRestored(target_id=team.id, name=team.name))
        return team

    async def take_in(self, team_id: str, member_id: str) -> None:
        """Put a member into a team; nothing happens when they are in it. Raises NotFound for either."""
        await self._teams.get(team_id)  # its lock lets one caller at a time look and add
        if await self._members.find(team_id, member_id):
            return
        await self._members.add(TeamMember(team_id=team_id, member_id=member_id))
        record(self._db, TeamMemberAdded(target_id=team_id, member_id=member_id))

    async def take_out(self, team_id: str, member_id: str) -> None:
        """Take a member out of a team. Raises NotFound when they are not in it."""
        await self._teams.get(team_id)
        place = await self._members.find(team_id, member_id)
        if place is None:
            raise NotFound
        await self._members.delete(place)
        record(self._db, TeamMemberRemoved(target_id=team_id, member_id=member_id))
