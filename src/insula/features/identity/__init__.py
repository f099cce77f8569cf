"""Identity: people, how they sign up and in, their sessions and passwords."""

from insula.core.feature import Feature
from insula.features.identity.controllers import CONTROLLERS
from insula.features.identity.jobs import HANDLERS, SCHEDULES
from insula.features.identity.models import ID_PREFIX, SESSION_PREFIX
from insula.features.identity.schemas import EVENTS

FEATURE = Feature(
    name="identity",
    controllers=CONTROLLERS,
    events=EVENTS,
    id_prefixes={ID_PREFIX: "user", SESSION_PREFIX: "session"},
    handlers=HANDLERS,
    schedules=SCHEDULES,
)
