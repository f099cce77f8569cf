"""Where teams and their members are stored and found."""

import sqlalchemy as sa

from insula.core.listing import Filter, Listing, Prefix
from insula.core.queries import Query, columns_of
from insula.core.repository import Repository
from insula.features.organizations.models import Membership
from insula.features.teams.models import Team, TeamMember
from insula.features.teams.schemas import TeamMemberRead, TeamRead

_TEAMS = Team.__table__.c
_PLACES = TeamMember.__table__.c
_MEMBERS = Membership.__table__.c


class TeamRepository(Repository[Team]):
    """Teams, for changing them."""

    model_type = Team


class TeamMemberRepository(Repository[TeamMember]):
    """Who is in which team, for changing it."""

    model_type = TeamMember

    async def find(self, team_id: str, member_id: str) -> TeamMember | None:
        """The member's place in the team, if they have one."""
        return await self.get_one_or_none(team_id=team_id, member_id=member_id)


_SELECT = sa.select(*columns_of(Team, TeamRead))

_LIVE = _SELECT.where(_TEAMS.deleted_at.is_(None))

TEAM = Query(_LIVE.where(_TEAMS.id == sa.bindparam("id", type_=_TEAMS.id.type)), TeamRead)

TEAMS = Listing(
    _LIVE,
    TeamRead,
    key=_TEAMS.id,
    sorts={"created_at": _TEAMS.id, "name": _TEAMS.name_norm},
    filters={"name_prefix": Prefix(_TEAMS.name_norm)},
)

DELETED_TEAMS = Listing(
    _SELECT.where(_TEAMS.deleted_at.is_not(None)),
    TeamRead,
    key=_TEAMS.id,
    sorts={"created_at": _TEAMS.id},
)

TEAMS_OF_MEMBER = Listing(
    _LIVE.join(TeamMember, sa.and_(_PLACES.tenant_id == _TEAMS.tenant_id, _PLACES.team_id == _TEAMS.id)),
    TeamRead,
    key=_TEAMS.id,
    sorts={"created_at": _TEAMS.id},
    filters={"member_id": Filter(_PLACES.member_id)},
)

_MEMBER = sa.select(_PLACES.member_id, _MEMBERS.name, _MEMBERS.email, _MEMBERS.role, _PLACES.created_at).join_from(
    TeamMember,
    Membership,
    sa.and_(_MEMBERS.tenant_id == _PLACES.tenant_id, _MEMBERS.id == _PLACES.member_id),
)

TEAM_MEMBER = Query(
    _MEMBER.where(
        _PLACES.team_id == sa.bindparam("team_id", type_=_PLACES.team_id.type),
        _PLACES.member_id == sa.bindparam("member_id", type_=_PLACES.member_id.type),
    ),
    TeamMemberRead,
)

TEAM_MEMBERS = Listing(
    _MEMBER,
    TeamMemberRead,
    key=_PLACES.member_id,
    sorts={"created_at": _PLACES.created_at},
    filters={"team_id": Filter(_PLACES.team_id)},
)
