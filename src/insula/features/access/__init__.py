"""Access: the roles and permissions of the program, shown to those they apply to."""

from insula.core.feature import Feature
from insula.features.access.controllers import CONTROLLERS, PERMISSIONS

FEATURE = Feature(name="access", controllers=CONTROLLERS, permissions=PERMISSIONS)
