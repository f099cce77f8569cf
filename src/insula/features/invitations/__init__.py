"""Invitations: how people come into an organization."""

from insula.core.feature import Feature
from insula.features.invitations.controllers import CONTROLLERS
from insula.features.invitations.jobs import HANDLERS, SCHEDULES
from insula.features.invitations.models import ID_PREFIX
from insula.features.invitations.permissions import PERMISSIONS
from insula.features.invitations.schemas import EVENTS, InvitationOpen

FEATURE = Feature(
    name="invitations",
    controllers=CONTROLLERS,
    permissions=PERMISSIONS,
    events=EVENTS,
    id_prefixes={ID_PREFIX: "invitation"},
    handlers=HANDLERS,
    schedules=SCHEDULES,
    constraints={"invitation_open": InvitationOpen},
)
