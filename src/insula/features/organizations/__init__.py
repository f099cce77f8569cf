"""Organizations and their members: who the customers are, and who may act for them."""

from insula.core.feature import Feature
from insula.features.organizations.controllers import CONTROLLERS
from insula.features.organizations.events import EVENTS
from insula.features.organizations.jobs import SCHEDULES
from insula.features.organizations.models import ID_PREFIX, MEMBER_PREFIX
from insula.features.organizations.permissions import PERMISSIONS
from insula.features.organizations.schemas import SlugTaken

FEATURE = Feature(
    name="organizations",
    controllers=CONTROLLERS,
    permissions=PERMISSIONS,
    events=EVENTS,
    id_prefixes={ID_PREFIX: "organization", MEMBER_PREFIX: "member"},
    schedules=SCHEDULES,
    constraints={"organization_slug_pkey": SlugTaken},
)
