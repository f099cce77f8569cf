"""Every feature of the program, listed by hand; a test proves the list complete."""

from typing import Final

from insula.core.feature import Feature
from insula.features import access, audit, identity, invitations, organizations, platform, projects, teams

FEATURES: Final[tuple[Feature, ...]] = (
    identity.FEATURE,
    access.FEATURE,
    organizations.FEATURE,
    teams.FEATURE,
    invitations.FEATURE,
    projects.FEATURE,
    audit.FEATURE,
    platform.FEATURE,
)
"""Lowest first: a feature may import those before it."""
