"""What this process wrote down lately, so that whoever repeats themselves does not fill the stream of events."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

_MINUTE: Final = 60.0
_REMEMBERED: Final = 10_000


class Lately:
    """The latest things said, and when; the oldest are forgotten first, and are said again then."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._now = seconds
        self._said: OrderedDict[Hashable, float] = OrderedDict()

    def said(self, what: Hashable, within: float) -> bool:
        """Whether it was said in the last so many seconds."""
        at = self._said.get(what)
        return at is not None and self._now() - at < within

    def is_news(self, what: Hashable) -> bool:
        """Whether it was not said in the last minute; from now on it is."""
        if self.said(what, _MINUTE):
            return False
        self.say(what)
        return True

    def say(self, what: Hashable) -> None:
        """Remember that it was said just now."""
        self._said[what] = self._now()
        self._said.move_to_end(what)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)


LATELY: Final = Lately()
