"""What comes round by itself: the end of deleted organizations."""

from datetime import timedelta
from typing import Final

from insula.core.upkeep import Chore

PURGE: Final = Chore("purge_organizations", timedelta(minutes=1), "SELECT * FROM app.purge_organizations(50000)")
"""One run deletes so many rows at most, in about half a second; the next one goes on."""

SCHEDULES = (PURGE,)
