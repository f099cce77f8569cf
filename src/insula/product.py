"""Every feature of the program, listed by hand; a test proves the list complete."""

from typing import Final

from insula.core.feature import Feature
from insula.features import projects

FEATURES: Final[tuple[Feature, ...]] = (projects.FEATURE,)
"""Lowest first: a feature may import those before it."""
