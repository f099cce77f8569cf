"""Reads that may be some seconds old: on a standby, under a grant that the primary's door has just signed."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import asyncpg
import structlog

from insula.core import metrics
from insula.core.db import LOST, Database, Transaction
from insula.core.errors import Unavailable

STALE_SECONDS: Final = 5.0
"""How old a read may be."""
_BEAT_SECONDS: Final = 1.0
_REST_SECONDS: Final = 2.0
"""A replica that cannot be reached is left alone for so long: requests do not wait for it one after the other."""

_AWAY: Final = (Unavailable, asyncpg.PostgresError, *LOST)
_POSITION: Final = "SELECT pg_current_wal_insert_lsn()::text"
_ENTER: Final = "SELECT app.enter_by_grant($1, $2::text::pg_lsn)"

_log = structlog.get_logger("insula.replica")


class NotThere(Exception):
    """The replica cannot answer this one: ask the primary."""


class Replica:
    """A standby of the primary. It is asked only where it has replayed all that the primary had five seconds ago."""

    def __init__(self, database: Database, primary: Database) -> None:
        self._database, self._primary = database, primary
        self._beats: deque[tuple[float, str]] = deque(maxlen=int(STALE_SECONDS / _BEAT_SECONDS) + 1)
        self._resting_until = 0.0

    @property
    def usable(self) -> bool:
        """Whether it is worth a try."""
        return self._reached is not None and time.monotonic() >= self._resting_until

    @property
    def _reached(self) -> str | None:
        """How far the primary was at most five seconds ago; None when nobody looked since."""
        since = time.monotonic() - STALE_SECONDS
        return next((position for at, position in self._beats if at >= since), None)

    @asynccontextmanager
    async def entered(self, grant: bytes) -> AsyncIterator[Transaction]:
        """A transaction in the context that the grant is for. Raises NotThere."""
        async with AsyncExitStack() as stack:
            try:
                transaction = await stack.enter_async_context(self._database.transaction(read_only=True))
                verdict = await transaction.driver.fetchval(_ENTER, grant, self._reached)
            except _AWAY as error:
                self._resting_until = time.monotonic() + _REST_SECONDS
                _log.warning("the replica cannot be asked", cause=getattr(error, "private", None) or repr(error))
                verdict = "away"
            metrics.REPLICA_READS.labels(verdict).inc()
            if verdict != "admitted":
                raise NotThere(verdict)
            yield transaction

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Listen to how far the primary is, for as long as the block lasts."""
        listening = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._database.close()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._primary.transaction(read_only=True) as transaction:
                    position: str = await transaction.driver.fetchval(_POSITION)
                self._beats.append((time.monotonic(), position))
            except _AWAY as error:
                _log.debug("the primary's position is not known", cause=repr(error))
            await asyncio.sleep(_BEAT_SECONDS)
