"""Room for bodies that are not little, and for answers: of our memory so much, and of that so much for each owner."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from insula.core.errors import RateLimited, Unavailable
from insula.core.permissions import Principal

_WHOLE: Final = 67_108_864
_PARTS: Final = 4
"""One owner may fill one of so many, and so lets others in."""


class Room:
    """Counts bytes of ``what`` for as long as they are kept; ``largest`` is what one body may have."""

    def __init__(self, what: str, largest: int) -> None:
        self._what = what
        self._free = max(_WHOLE, _PARTS * largest)
        self._share = self._free // _PARTS
        self._held: Counter[str] = Counter()

    @contextmanager
    def of(self, owners: Iterable[str]) -> Iterator[Callable[[int], None]]:
        """What to call with the length of every piece, which counts for each owner; leaving gives all of it back.

        The call raises RateLimited when one of them has filled a share, and Unavailable when the room is full.
        """
        counted, taken = frozenset(owners), 0

        def take(length: int) -> None:
            nonlocal taken
            if any(self._held[owner] + length > self._share for owner in counted):
                raise RateLimited(1, self._policy())
            if length > self._free:
                raise Unavailable(private=f"{self._what} fill the room there is for them")
            taken += length
            self._free -= length
            self._held.update(dict.fromkeys(counted, length))

        try:
            yield take
        finally:
            self._free += taken
            for owner in counted:
                self._held[owner] -= taken
                if not self._held[owner]:
                    del self._held[owner]

    def until(self, held: ExitStack, owners: Iterable[str]) -> Callable[[int], None]:
        """The same for what is known as a whole: all that is taken is given back when ``held`` ends."""
        return lambda length: held.enter_context(self.of(owners))(length)  # noqa: PLW0108  # most take nothing

    def _policy(self) -> dict[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers-11; bytes are a unit of its own."""
        policy = f'"{self._what}";q={self._share};qu="content-bytes"'
        return {"ratelimit-policy": policy, "ratelimit": f'"{self._what}";r=0;t=1'}


def owners(principal: Principal, token: str) -> tuple[str, ...]:
    """For whom it counts: neither does an organization of many members hold more, nor who is in many of them."""
    person = principal.user_id or token
    return (person,) if principal.organization_id is None else (person, principal.organization_id)
