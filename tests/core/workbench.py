"""A worker taken apart: its relay, queue and runner within reach, on a database with a few tasks made for tests."""

from base64 import b64decode
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from redis.asyncio import Redis

from insula.core.db import Database, Transaction
from insula.core.gauges import Gauges
from insula.core.ids import to_uuid
from insula.core.jobs import Handler, JobContext, Services, enqueue
from insula.core.keyring import Keyring
from insula.core.mail import Mail
from insula.core.pace import Pace
from insula.core.queue import Queue
from insula.core.relay import Caps, Relay
from insula.core.runner import Lease, Runner
from insula.core.schemas import Task
from insula.core.upkeep import Upkeep

ACME = uuid4()
A, B, C, D, E, F = (UUID(int=number) for number in range(1, 7))
"""Organizations, in the order in which they take their turns."""


class Note(Task, frozen=True):
    """Leave ``text`` behind as an effect."""

    NAME = "test.note"

    text: str = ""


class Parcel(Task, frozen=True):
    """Leave ``text`` behind as an effect, by workers of another queue."""

    NAME = "test.parcel"
    QUEUE = "bulk"

    text: str = ""


class Fragile(Task, frozen=True):
    """A task that may fail three times."""

    NAME = "test.fragile"
    MAX_FAILURES = 3


class Foreign(Task, frozen=True):
    """A task of another release: nothing here handles it."""

    NAME = "test.foreign"


class Letterbox:
    """A mailer that keeps what it is given, or has trouble."""

    def __init__(self) -> None:
        self.letters: list[Mail] = []
        self.trouble: Exception | None = None

    async def send(self, mail: Mail) -> None:
        if self.trouble:
            raise self.trouble
        self.letters.append(mail)


async def leave_effect(db: Transaction, task: Any, context: JobContext) -> None:
    await db.driver.execute(
        "INSERT INTO app.effect (id, user_id, job_id, note) VALUES (gen_random_uuid(), app.user_id()::text, $1, $2)",
        context.job_id,
        getattr(task, "text", ""),
    )


class Workbench:
    """What a test needs to ask for jobs, move them along one step at a time and see what became of them."""

    def __init__(self, urls: dict[str, str], superuser: asyncpg.Connection, redis: Redis) -> None:
        self.urls, self.superuser, self.redis = urls, superuser, redis
        self.database = Database(urls["app_rw"], pool_size=8)
        self.platform = Database(urls["app_platform"], pool_size=8)
        self.anybody = Database(urls["admin"], pool_size=2)
        self.letterbox = Letterbox()
        mailer: Any = self.letterbox
        self.services = Services(mailer=mailer, keyring=Keyring.from_secret(bytes(32)))
        self.queue = Queue(redis)
        self.lease_seconds = 60.0

    def runner(self, handlers: dict[type[Task], Handler], lease_seconds: float = 60.0) -> Runner:
        return Runner(self.database, handlers, self.services, lease_seconds)

    def relay(
        self, queue: Queue | None = None, *, in_flight: int = 200, ahead: int = 10, per_minute: int = 60_000
    ) -> Relay:
        """That of the first queue that is served."""
        caps, queue = Caps(in_flight, ahead, Pace(per_minute)), queue or self.queue
        return Relay(self.platform, queue, queue.served[0], caps, lease_seconds=self.lease_seconds)

    def upkeep(self, *schedules: Any, pace: Pace | None = None, queue: Queue | None = None) -> Upkeep:
        queue = queue or self.queue
        return Upkeep(self.platform, queue, schedules, self.gauges(pace), lease_seconds=self.lease_seconds)

    def gauges(self, pace: Pace | None = None, *known: str) -> Gauges:
        return Gauges(self.platform, pace or Pace(60_000), self.queue.served, [*self.queue.served, *known], [Note.NAME])

    async def ask(
        self, *tasks: Task, tenant: UUID | None = ACME, user: UUID | None = None, delay: float = 0.0
    ) -> list[str]:
        """Ask for jobs as this tenant and user; returns their ids."""
        async with self.anybody.transaction() as db:
            await db.driver.execute("SELECT app.set_context($1, $2)", tenant, user)
            jobs = [enqueue(db, task, delay=delay) for task in tasks]
            await db.commit()
        return jobs

    async def flood(self, tenant: UUID, count: int, task: type[Task] = Note) -> None:
        """``count`` due jobs of one tenant, at once."""
        await self.superuser.execute(
            "INSERT INTO app.outbox (id, tenant_id, lane, queue, task, payload, due_at)"
            " SELECT gen_random_uuid(), $1, $1, $2, $3, '{}', now() - interval '1 minute' + i * interval '1 microsecond'"
            " FROM generate_series(1, $4::integer) AS i",
            tenant,
            task.QUEUE,
            task.NAME,
            count,
        )

    async def leases(self, relay: Relay | None = None) -> list[Lease]:
        """Claim what is due and take it from the queue."""
        await (relay or self.relay()).hand_out()
        return await self.taken()

    async def taken(self) -> list[Lease]:
        """Everything that waits in the queue, as a worker would take it."""
        leases = []
        while await self.queue.waiting(Task.QUEUE):
            job = await self.queue.dequeue()
            assert job is not None and job.kwargs is not None
            leases.append(Lease(job.kwargs["job_id"], b64decode(job.kwargs["secret"])))
        return leases

    async def work(self, runner: Runner, relay: Relay | None = None) -> int:
        """Run everything that is due; returns how many runs that took."""
        relay, runs = relay or self.relay(), 0
        while leases := await self.leases(relay):
            for lease in leases:
                await runner.run(lease)
            runs += len(leases)
        return runs

    async def row(self, job_id: str) -> asyncpg.Record:
        found = await self.superuser.fetchrow("SELECT * FROM app.outbox WHERE id = $1", to_uuid("job", job_id))
        assert found is not None
        return found

    async def lanes(self) -> list[UUID]:
        """Whose jobs wait in the queue, in its order."""
        rows = {}
        for lease in await self.taken():
            rows[lease.job_id] = (await self.row(lease.job_id))["lane"]
        return list(rows.values())

    async def statuses(self) -> dict[str, int]:
        rows = await self.superuser.fetch("SELECT status, count(*) FROM app.outbox GROUP BY status")
        return {row["status"]: row["count"] for row in rows}

    async def effects(self) -> list[asyncpg.Record]:
        return await self.superuser.fetch("SELECT * FROM app.effect")

    async def hurry(self) -> None:
        """Let every waiting job's time come, and every lease run out."""
        await self.superuser.execute("UPDATE app.outbox SET due_at = now() WHERE status = 'waiting'")
        await self.superuser.execute("UPDATE app.outbox SET leased_until = now() WHERE status = 'leased'")

    async def clear(self) -> None:
        await self.superuser.execute("TRUNCATE app.outbox, app.tick, app.effect")
        await self.redis.flushdb()
