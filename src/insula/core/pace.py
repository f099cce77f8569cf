"""How fast the jobs of one organization are handed out, so that a flood of them leaves the others room."""

import time
from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

BURST_SECONDS: Final = 4.0
"""So many seconds' worth may come at once: what people ask for by hand is not slowed."""


class Pace:
    """So many jobs a minute of each lane. As a rate limit, but what is beyond it waits.

    Each relay counts for itself: more worker processes do more of a flood. A lane that has nothing to pay off takes no
    room here; it may be given more than its burst at once, and pays that off before it is given the next.
    """

    def __init__(self, per_minute: int, seconds: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute
        self._most = max(BURST_SECONDS, self._interval)
        self._now = seconds
        self._paid_off: dict[UUID, float] = {}

    def left(self) -> dict[UUID, int]:
        """How many jobs each lane may be given now; those that are not named have nothing to pay off."""
        now = self._now()
        self._paid_off = {lane: moment for lane, moment in self._paid_off.items() if moment > now}
        return {
            lane: max(0, int((self._most - (moment - now)) / self._interval)) for lane, moment in self._paid_off.items()
        }

    def must_wait(self, lane: UUID) -> bool:
        """Whether it may be given nothing now."""
        return self._paid_off.get(lane, 0.0) > self._now() + self._most - self._interval

    def spend(self, lanes: Iterable[UUID]) -> None:
        """A job of each was handed out."""
        now = self._now()
        for lane in lanes:
            self._paid_off[lane] = max(self._paid_off.get(lane, now), now) + self._interval

    def beyond(self) -> list[UUID]:
        """The lanes that ask for more than they are given: half of their burst is used up."""
        line = self._now() + self._most / 2
        return [lane for lane, moment in self._paid_off.items() if moment > line]

    def wait(self) -> float | None:
        """Seconds until a lane that has nothing left may go on; None where all have something."""
        last = self._now() + self._most - self._interval
        waits = [moment - last for moment in self._paid_off.values() if moment > last]
        return min(waits, default=None)
