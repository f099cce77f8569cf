"""Audit: the one event stream, read by those who answer for the organization."""

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
