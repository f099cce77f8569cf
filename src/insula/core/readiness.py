"""Whether a process can do its work: what it cannot do without is asked, at most once a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
from redis.asyncio import Redis

from insula.core.db import Database

_REMEMBERED_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 2.0
_NOBODY: Final = bytes(32)
_KNOCKS: Final = {
    "app_rw": "SELECT verdict FROM app.enter($1, NULL)",
    "app_platform": "SELECT verdict FROM app.enter_platform($1)",
}

MISSES: Final = (
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
)
"""What PostgreSQL says where the schema is not, or is another one."""

Asking = Callable[[], Awaitable[object]]
"""Returns when it is there; raises, or takes long, when it is not."""


class NotMigrated(Exception):
    """The database is there, and what this program looks for in it is not."""


class Readiness:
    """What a process lacks: nothing but that it was told to stop, or one of the servers that it needs.

    Anybody may ask, as often as they like: the servers are asked once a second.
    """

    def __init__(self, needs: dict[str, Asking]) -> None:
        self.draining = False
        self._needs = needs
        self._asking = asyncio.Lock()
        self._known_until = 0.0
        self._lacks: str | None = None

    async def lacks(self) -> str | None:
        """What is missing; None when nothing is."""
        if self.draining:
            return "draining"
        async with self._asking:
            if time.monotonic() > self._known_until:
                self._lacks = await self._ask()
                self._known_until = time.monotonic() + _REMEMBERED_SECONDS
            return self._lacks

    async def _ask(self) -> str | None:
        for name, asking in self._needs.items():
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await asking()
            except NotMigrated:
                return f"{name} not migrated"
            except Exception:  # noqa: BLE001  # whatever else it is, the answer is the same
                return f"{name} unreachable"
        return None


def knocking(database: Database) -> Asking:
    """Asks for a door of the database, which lets nobody in: so it is there, and its schema and its keys are."""

    async def knock() -> None:
        try:
            async with database.transaction(read_only=True) as transaction:
                verdict = await transaction.driver.fetchval(_KNOCKS[database.login], _NOBODY)
        except MISSES as error:
            raise NotMigrated from error
        if verdict != "unauthenticated":
            raise ConnectionError(f"the door said {verdict}")

    return knock


def pinging(redis: Redis) -> Asking:
    """Asks Redis for a sign of life."""

    async def ping() -> None:
        await redis.ping()  # type: ignore[misc]  # redis-py: sync or async

    return ping
