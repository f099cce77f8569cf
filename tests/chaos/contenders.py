"""What is put to the test, and for comparison SAQ alone, which must fail."""

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from contextlib import suppress
from typing import Any, Final, Protocol

import asyncpg
import saq
import uvloop
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from insula.core.errors import Unavailable
from insula.core.logs import configure_logs
from insula.settings import Settings
from tests.chaos.house import Crew, House

AWAY: Final = (
    Unavailable,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    DBAPIError,
    RedisError,
    OSError,
)
"""What a client or a starting process meets while a server is gone."""


class GaveUp(Exception):
    """The client will never know whether its request was carried out."""


class Refused(Exception):
    """An answer that a client in its right deserves in no circumstances; it says which."""


class Contender(Protocol):
    """Takes requests and sees to it that they happen."""

    crew: Crew

    async def open(self, house: House) -> None: ...

    async def close(self) -> None: ...

    def effects(self, number: int) -> set[str]:
        """What has happened when the request of this number was carried out."""

    async def ask(self, number: int) -> None:
        """The request of this number; to return is to promise. Raises GaveUp, Refused."""

    async def unfinished(self, superuser: asyncpg.Connection) -> int:
        """How much is promised and not yet done."""

    async def forgotten(self) -> int:
        """How many promised requests are not answered the same when they are asked once more."""

    async def happened(self, superuser: asyncpg.Connection) -> Counter[str]:
        """Every effect that there is, and how often."""

    async def repeated_calls(self, superuser: asyncpg.Connection) -> int:
        """How many calls to the world outside were made again."""


class SaqAlone:
    """The stamps of errands handed straight to SAQ with its defaults: no outbox, no leases, no fence."""

    def __init__(self) -> None:
        self.crew: Crew = (("worker", work_alone),) * 3

    async def open(self, house: House) -> None:
        self._queue = saq.Queue.from_url(house.settings.redis_url)

    async def close(self) -> None:
        await self._queue.disconnect()

    def effects(self, number: int) -> set[str]:
        return {f"effect-{number}"}

    async def ask(self, number: int) -> None:
        try:
            await self._queue.enqueue("stamp", effect=f"effect-{number}")
        except AWAY as error:
            raise GaveUp from error

    async def unfinished(self, superuser: asyncpg.Connection) -> int:
        return await self._queue.count("incomplete")

    async def forgotten(self) -> int:
        return 0

    async def happened(self, superuser: asyncpg.Connection) -> Counter[str]:
        return Counter(row["key"] for row in await superuser.fetch("SELECT key FROM app.chaos_effect"))

    async def repeated_calls(self, superuser: asyncpg.Connection) -> int:
        return 0


def work_alone(settings: Settings) -> None:
    """The whole life of a worker process of SAQ."""
    configure_logs("critical", json=True)

    async def run() -> None:
        # As superuser: nobody tells SAQ which tenant a job is for.
        database = await asyncpg.create_pool(settings.owner_database_url, min_size=1, max_size=10)

        async def stamp(_: Any, *, effect: str) -> None:
            await asyncio.sleep(0.1)  # the work comes before what it leaves: a kill meets it on its way
            async with database.acquire() as connection:
                await connection.execute(
                    "INSERT INTO app.chaos_effect (tenant_id, id, key)"
                    " VALUES (gen_random_uuid(), gen_random_uuid(), $1)",
                    effect,
                )

        worker = saq.Worker(saq.Queue.from_url(settings.redis_url), [("stamp", stamp)])
        stop_with_parent()
        await worker.start()

    with suppress(*AWAY):
        uvloop.run(run())


def stop_with_parent() -> None:
    """A run that is interrupted must not leave processes behind."""
    parent, loop = multiprocessing.parent_process(), asyncio.get_running_loop()
    assert parent is not None
    sentinel = parent.sentinel

    def stop() -> None:
        loop.remove_reader(sentinel)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sentinel, stop)
