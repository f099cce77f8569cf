"""Teams: members of an organization who work together."""

from insula.core.errors import NotFound
from insula.core.feature import Feature
from insula.features.teams.controllers import CONTROLLERS, PERMISSIONS
from insula.features.teams.models import ID_PREFIX, PLACE_PREFIX
from insula.features.teams.schemas import EVENTS, TeamNameTaken

FEATURE = Feature(
    name="teams",
    controllers=CONTROLLERS,
    permissions=PERMISSIONS,
    events=EVENTS,
    id_prefixes={ID_PREFIX: "team", PLACE_PREFIX: "a member's place in a team"},
    constraints={
        "team_name": TeamNameTaken,
        # The member of the path is not one of this organization's.
        "team_member_tenant_id_member_id_fkey": NotFound,
    },
)
