"""What is put to the test: the program, and for comparison SAQ alone, which must fail."""

import asyncio
import multiprocessing
import os
import signal
from contextlib import suppress
from typing import Any, Final, Protocol

import asyncpg
import saq
import uvloop
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from insula.core.crypto import Keys
from insula.core.db import Database
from insula.core.errors import Unavailable
from insula.core.ids import new_id, to_uuid
from insula.core.jobs import enqueue
from insula.core.logs import configure_logs
from insula.core.tokens import credential_id, digest, mint
from insula.settings import Settings
from insula.worker import create_worker
from tests.chaos.tasks import FEATURE, task_for

TENANTS: Final = 5
AWAY: Final = (
    Unavailable,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    DBAPIError,
    RedisError,
    OSError,
)
"""What a client or a starting worker meets while a server is gone."""


class Contender(Protocol):
    """Takes requests and sees to it that they happen."""

    async def open(self, settings: Settings, superuser: asyncpg.Connection) -> None: ...

    async def close(self) -> None: ...

    async def ask(self, number: int, key: str) -> None:
        """Ask for the task of this number; to return is to promise."""

    async def unfinished(self, superuser: asyncpg.Connection) -> int:
        """How much is promised and not yet done."""

    @staticmethod
    def work(settings: Settings) -> None:
        """The whole life of a worker process."""


class Program:
    """Insula: clients that commit transactions of their organization, as the API's handlers do."""

    async def open(self, settings: Settings, superuser: asyncpg.Connection) -> None:
        self._database = await Database(settings.database_url, pool_size=4).open()
        self._doors = [await self._arrange(settings, superuser) for _ in range(TENANTS)]

    async def _arrange(self, settings: Settings, superuser: asyncpg.Connection) -> tuple[bytes, Any]:
        user, tenant, credential = new_id("usr"), to_uuid("org", new_id("org")), credential_id()
        secret = digest(mint("session", credential), Keys.from_secret(settings.secret).credential)
        await superuser.execute(
            'INSERT INTO app."user" (id, email, email_norm, name) VALUES ($1, $2, $2, $2)', to_uuid("usr", user), user
        )
        await superuser.execute(
            "INSERT INTO app.organization (tenant_id, id, name, slug) VALUES ($1, $1, 'Chaos', 'chaos')", tenant
        )
        await superuser.execute(
            "INSERT INTO app.membership (tenant_id, id, user_id, role, name, name_norm, email, email_norm)"
            " VALUES ($1, $1, $2, 'owner', 'x', 'x', 'x', 'x')",
            tenant,
            to_uuid("usr", user),
        )
        await superuser.execute(
            "INSERT INTO app.credential (id, kind, hash, user_id, expires_at)"
            " VALUES ($1, 'session', $2, $3, now() + interval '1 day')",
            to_uuid("crd", credential),
            secret,
            to_uuid("usr", user),
        )
        return secret, tenant

    async def close(self) -> None:
        await self._database.close()

    async def ask(self, number: int, key: str) -> None:
        async with self._database.transaction() as db:
            verdict = await db.driver.fetchval("SELECT verdict FROM app.enter($1, $2)", *self._doors[number % TENANTS])
            assert verdict == "admitted", verdict
            enqueue(db, task_for(number, key))
            await db.commit()

    async def unfinished(self, superuser: asyncpg.Connection) -> int:
        count: int = await superuser.fetchval(
            "SELECT count(*) FROM app.outbox WHERE status IN ('waiting', 'due', 'leased')"
        )
        return count

    @staticmethod
    def work(settings: Settings) -> None:
        configure_logs("critical", json=True)

        async def run() -> None:
            _stop_with_parent()
            await create_worker(settings, (FEATURE,)).run()

        with suppress(*AWAY):  # no database to start with: it is started again
            uvloop.run(run())


class SaqAlone:
    """The same work handed straight to SAQ with its defaults: no outbox, no leases, no fence."""

    async def open(self, settings: Settings, superuser: asyncpg.Connection) -> None:
        self._queue = saq.Queue.from_url(settings.redis_url)

    async def close(self) -> None:
        await self._queue.disconnect()

    async def ask(self, number: int, key: str) -> None:
        await self._queue.enqueue("stamp", effect=key)

    async def unfinished(self, superuser: asyncpg.Connection) -> int:
        return await self._queue.count("incomplete")

    @staticmethod
    def work(settings: Settings) -> None:
        configure_logs("critical", json=True)

        async def run() -> None:
            # As superuser: nobody tells SAQ which tenant a job is for.
            database = await asyncpg.create_pool(settings.owner_database_url, min_size=1, max_size=10)

            async def stamp(_: Any, *, effect: str) -> None:
                async with database.acquire() as connection:
                    await connection.execute(
                        "INSERT INTO app.chaos_effect (tenant_id, id, key)"
                        " VALUES (gen_random_uuid(), gen_random_uuid(), $1)",
                        effect,
                    )
                    await asyncio.sleep(0.1)

            worker = saq.Worker(saq.Queue.from_url(settings.redis_url), [("stamp", stamp)])
            _stop_with_parent()
            await worker.start()

        with suppress(*AWAY):
            uvloop.run(run())


def _stop_with_parent() -> None:
    """A run that is interrupted must not leave workers behind."""
    parent, loop = multiprocessing.parent_process(), asyncio.get_running_loop()
    assert parent is not None
    sentinel = parent.sentinel

    def stop() -> None:
        loop.remove_reader(sentinel)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sentinel, stop)
