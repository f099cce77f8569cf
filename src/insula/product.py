"""Every feature of the program, listed by hand; a test proves the list complete."""

from typing import Final

from insula.core.feature import Feature
from insula.features import platform, projects, teams

FEATURES: Final[tuple[Feature, ...]] = (teams.FEATURE, projects.FEATURE, platform.FEATURE)
"""Lowest first: a feature may import those before it."""
