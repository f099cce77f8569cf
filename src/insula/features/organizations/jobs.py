"""What comes round by itself: the end of deleted organizations."""

from datetime import timedelta
from typing import Final

from insula.core.upkeep import Chore

PURGE: Final = Chore("purge_organizations", timedelta(minutes=1), "SELECT app.purge_organizations(10000)")
"""So many rows one run deletes at most: it must be over long before the statement timeout."""

SCHEDULES = (PURGE,)
