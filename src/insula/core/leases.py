"""Requests of a busy caller that were counted in advance: its next few need no round trip to Redis."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

_SECONDS: Final = 2.0
_PART: Final = 64
"""No more than this part of a burst is counted at once: small limits stay exact, and little is lost with a caller."""
_LONGEST: Final = 16
_REMEMBERED: Final = 10_000


class _Lease(msgspec.Struct):
    """What one question to Redis was answered with."""

    size: int
    left: int
    backlogs: list[int]
    """Microseconds that each limit lay ahead before its first request."""
    asked: float


class Leases:
    """How many requests each caller has left of what was counted for it.

    Leases only ever hold what Redis has granted, so nobody gets more than a limit; a caller that stops loses the rest
    of its last one. A lease is doubled for a caller that used the one before in half of its time, which idle ones
    never do.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._now = seconds
        self._leases: OrderedDict[tuple[str, ...], _Lease] = OrderedDict()

    def spend(self, keys: tuple[str, ...], intervals: Sequence[int]) -> list[int] | None:
        """The backlogs that the next request finds; None when Redis has to be asked. Intervals in microseconds."""
        lease = self._leases.get(keys)
        if lease is None or not lease.left:
            return None
        elapsed = self._now() - lease.asked
        if elapsed > _SECONDS:
            lease.left = 0
            return None
        spent, paid_off = lease.size - lease.left, int(elapsed * 1_000_000)
        lease.left -= 1
        return [
            max(backlog + spent * interval - paid_off, 0)
            for backlog, interval in zip(lease.backlogs, intervals, strict=True)
        ]

    def wanted(self, keys: tuple[str, ...], bursts: Sequence[int]) -> int:
        """How many requests to ask for, of the one that is there."""
        most = min(min(bursts) // _PART, _LONGEST)
        if most < 2:
            return 1
        lease = self._leases.get(keys)
        if lease is None or lease.left:
            return 1
        elapsed = self._now() - lease.asked
        if elapsed > _SECONDS:
            return 1
        del self._leases[keys]  # who asks at the same time asks for one
        return min(lease.size * 2 if elapsed < _SECONDS / 2 else lease.size, most)

    def keep(self, keys: tuple[str, ...], granted: int, backlogs: list[int]) -> None:
        """Remember what was granted; its first request is the one that asked."""
        lease = self._leases.get(keys)
        if lease is not None and lease.left >= granted:  # of another request, which asked meanwhile
            return
        self._leases[keys] = _Lease(granted, granted - 1, backlogs, self._now())
        self._leases.move_to_end(keys)
        if len(self._leases) > _REMEMBERED:
            self._leases.popitem(last=False)
