"""Who was refused a moment ago: to refuse them again needs neither database nor Redis."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

import msgspec

from insula.core.limits import Decision, decisions_counter

_REMEMBERED: Final = 10_000
_KNOWN_SECONDS: Final = 60.0


class StillRefused:
    """Refusals and how long each holds; the oldest are forgotten first, and decided anew then.

    Whoever asks far beyond a limit costs the others little: a door opened for each of those requests would cost as much
    as an answer.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._now = seconds
        self._held: OrderedDict[Hashable, tuple[Decision, float]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._held)

    def decision(self, who: Hashable, group: Hashable = None) -> Decision | None:
        """The refusal that holds for them, with what is left of its wait.

        So does one of their ``group``, for who was refused by the same limit within the last minute: where many are far
        beyond a limit that they share, one of them has it decided anew.
        """
        own = self._held.get(who)
        if own is None:
            return None
        now = self._now()
        if now - own[1] > _KNOWN_SECONDS:
            del self._held[who]
            return None
        shared = self._held.get(group, own)
        for decision, until in (own, shared):
            left = int((until - now) * 1_000_000)
            if left > 0 and decision.limit.name == own[0].limit.name:
                decisions_counter(decision.limit.name, "refused").inc()
                return msgspec.structs.replace(decision, wait=left)
        return None

    def hold(self, who: Hashable, decision: Decision) -> None:
        """Refuse them until one request would pass."""
        self._held[who] = decision, self._now() + decision.wait / 1_000_000
        self._held.move_to_end(who)
        if len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)
