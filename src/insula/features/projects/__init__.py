"""Projects: the smallest complete tenant-owned resource, and the one to copy."""

from insula.core.errors import UnknownReference
from insula.core.feature import Feature
from insula.features.projects.controllers import CONTROLLERS, PERMISSIONS
from insula.features.projects.models import ID_PREFIX
from insula.features.projects.schemas import EVENTS, ProjectKeyTaken

FEATURE = Feature(
    name="projects",
    controllers=CONTROLLERS,
    permissions=PERMISSIONS,
    events=EVENTS,
    id_prefixes={ID_PREFIX: "project"},
    constraints={
        "project_key": ProjectKeyTaken,
        "project_tenant_id_team_id_fkey": lambda: UnknownReference("/team_id"),
    },
)
