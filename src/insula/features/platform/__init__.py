"""The operators' plane: the jobs of the whole installation, and what became of them."""

from insula.core.feature import Feature
from insula.features.platform.controllers import CONTROLLERS

FEATURE = Feature(name="platform", controllers=CONTROLLERS, id_prefixes={"opa": "operator action"})
