"""Audit: what happened, read by those who answer for the organization, and by each person about their own account."""

from insula.core.events import ID_PREFIX
from insula.core.feature import Feature
from insula.features.audit.controllers import CONTROLLERS, PERMISSIONS
from insula.features.audit.schemas import EVENTS

FEATURE = Feature(
    name="audit",
    controllers=CONTROLLERS,
    permissions=PERMISSIONS,
    events=EVENTS,
    id_prefixes={ID_PREFIX: "event"},
)
