"""A share of the connections for each organization: what it asks beyond waits for its own work, not others for it."""

import asyncio
from typing import Final
from weakref import WeakValueDictionary

from insula.core.errors import Unavailable

_PATIENCE_SECONDS: Final = 10.0


class Shares:
    """At most ``each`` transactions at a time for every owner. Those who hold and ask for nothing are forgotten."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._of: WeakValueDictionary[str, Share] = WeakValueDictionary()

    def of(self, owner: str) -> "Share":
        """Enter it around a transaction. Raises Unavailable when none of the owner's own ends for long."""
        share = self._of.get(owner)
        if share is None:
            share = self._of[owner] = Share(self._each)
        return share


class Share:
    """One owner's places."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)

    async def __aenter__(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._places.acquire()
        except TimeoutError as error:
            raise Unavailable(private="the organization's share of the connections is in use") from error

    async def __aexit__(self, *_: object) -> None:
        self._places.release()
