"""What comes round by itself: leases that ran out, schedules, the program's own housekeeping."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec
import structlog
from redis.exceptions import RedisError

from insula.core import metrics
from insula.core.db import Database
from insula.core.gauges import Gauges
from insula.core.ids import new_uuid
from insula.core.jobs import Schedule, latest_tick
from insula.core.pool import Driver
from insula.core.queue import Queue
from insula.core.relay import repeat

CRASH_LIMIT: Final = 25
FORGOTTEN_SECONDS: Final = 5.0
"""A job that was handed out so long ago, has not started and is not in the queue was lost with it."""
GAUGE_SECONDS: Final = 15.0
_OVERDUE_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 1.0
_REST_SECONDS: Final = 60.0
"""What failed comes round again after so long: others may have had to wait for it."""
_GRACE_SECONDS: Final = 30.0
_TASK_LENGTH: Final = 100

_log = structlog.get_logger("insula.upkeep")


class Chore(msgspec.Struct, frozen=True):
    """Housekeeping of the program's own tables.

    A chore is a statement and no job: it belongs to no tenant, works on tables that only the platform's login may
    touch, and needs neither retry nor record, since the next tick does what this one left. A statement that answers
    with a column `stayed` says of how many it left some that it could not do.
    """

    name: str
    every: timedelta
    statement: str
    binds: tuple[int, ...] = ()


_BATCH: Final = 50_000
"""Rows one run deletes at most: well under a second."""

CHORES: Final = (
    Chore(
        "purge_jobs",
        timedelta(minutes=1),
        "DELETE FROM app.outbox WHERE id IN (SELECT id FROM app.outbox WHERE status IN ('done', 'discarded')"  # noqa: S608  # our own number
        f" AND finished_at < now() - interval '3 days' ORDER BY finished_at LIMIT {_BATCH})",
    ),
    Chore("purge_idempotency", timedelta(minutes=1), f"SELECT app.purge_idempotency({_BATCH})"),
    Chore(
        "purge_credentials",
        timedelta(minutes=10),
        f"SELECT app.purge_credentials(interval '30 days', {_BATCH})",
    ),
    Chore(
        "purge_ticks",  # the latest of each schedule stays: without it the schedule would be new
        timedelta(hours=1),
        "DELETE FROM app.tick AS old WHERE old.at < now() - interval '7 days' AND EXISTS"
        " (SELECT FROM app.tick AS newer WHERE newer.schedule = old.schedule AND newer.at > old.at)",
    ),
    Chore(
        "purge_deleted",
        timedelta(hours=1),
        "SELECT stayed FROM app.purge_deleted(interval '30 days', $1)",
        (_BATCH,),
    ),
    Chore("forget_keys", timedelta(days=1), "SELECT app.forget_keys()"),
    Chore("create_event_partitions", timedelta(days=1), "SELECT app.create_event_partitions(now(), 3)"),
)


def event_retention(days: int) -> Chore:
    """Housekeeping for installations that do not keep events forever."""
    return Chore("drop_event_partitions", timedelta(days=1), _DROP_EVENTS, (days,))


_DROP_EVENTS: Final = "SELECT app.drop_event_partitions(make_interval(days => $1))"
_WAIT_LITTLE: Final = "SET LOCAL lock_timeout = '500ms'"
_END_OVERDUE: Final = "SELECT app.end_overdue(make_interval(secs => $1))"
_SWEEP: Final = "SELECT * FROM app.sweep_jobs($1, $2, $3)"

# One row per tick, and whoever writes it does the work, in the same commit. False: the schedule is new, or the clock
# went back; no row: somebody else was first.
_TICK: Final = """
WITH known AS (SELECT max(at) AS latest FROM app.tick WHERE schedule = $1),
fresh AS (INSERT INTO app.tick (schedule, at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING at)
SELECT coalesce(known.latest < fresh.at, false) FROM fresh, known
"""
_ENQUEUE: Final = """
INSERT INTO app.outbox (id, tenant_id, user_id, queue, task, payload) VALUES ($1, NULL, NULL, $2, $3, $4::text::jsonb)
"""


class Upkeep:
    """Looks after the outbox every second. Each worker process does; that once is once, the database sees to."""

    def __init__(
        self,
        platform: Database,
        queue: Queue,
        schedules: Sequence[Schedule | Chore],
        gauges: Gauges,
        *,
        lease_seconds: float,
    ) -> None:
        self._platform = platform
        self._queue = queue
        self._rounds: tuple[Schedule | Chore, ...] = (*CHORES, *schedules)
        self._gauges = gauges
        self._lease_seconds = lease_seconds
        self._seen: dict[str, datetime] = {}
        self._rests: dict[str, float] = {}
        self._gauged = 0.0
        if len({each.name for each in self._rounds}) != len(self._rounds):
            raise ValueError("two schedules share a name")
        for each in self._rounds:
            metrics.CHORES_UNDONE.labels(each.name)  # from zero: a series does not increase by what it begins with

    async def run(self, stopping: asyncio.Event) -> None:
        """Look after it until told to stop. What is overdue may be what holds the rest up: it is ended by itself."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(repeat(self.look, stopping))
            tasks.create_task(repeat(self.end_overdue, stopping))

    async def look(self) -> float:
        """One look at everything; returns in how many seconds the next is due."""
        await self.sweep()
        await self.tick()
        if time.monotonic() - self._gauged > GAUGE_SECONDS:
            await self._gauges.take()
            self._gauged = time.monotonic()
        return _LOOK_SECONDS

    async def sweep(self) -> None:
        """Take back the jobs whose workers are gone."""
        try:
            emptied = [name for name in self._queue.served if await self._queue.waiting(name) == 0]
        except (RedisError, OSError):
            emptied = []
        unstarted = max(0.0, self._lease_seconds - FORGOTTEN_SECONDS) if emptied else 0.0
        async with self._platform.transaction(read_only=True) as db:
            swept = await db.driver.fetch(_SWEEP, CRASH_LIMIT, unstarted, emptied)
            await db.commit()
        for row in swept:
            self._gauges.lost(row["task"], "lost" if row["status"] == "due" else "crashed")
            if row["status"] == "dead":
                _log.error("a job kept losing its workers and is a dead letter", task=row["task"][:_TASK_LENGTH])

    async def tick(self) -> None:
        """Do what has come round since the last look. What fails is left for later, and keeps nothing else."""
        async with self._platform.transaction(read_only=True) as db:
            now: datetime = await db.driver.fetchval("SELECT now()")
        for each in self._rounds:
            at = latest_tick(each.every, now)
            if self._seen.get(each.name) == at or self._rests.get(each.name, 0.0) > time.monotonic():
                continue
            try:
                settled = await self._come_round(each, at)
            except asyncpg.PostgresError as error:
                _log.error("what comes round by itself failed", step=each.name, cause=repr(error))
                metrics.CHORES_UNDONE.labels(each.name).inc()
                self._rests[each.name] = time.monotonic() + _REST_SECONDS
            else:
                if settled:
                    self._seen[each.name] = at

    async def _come_round(self, each: Schedule | Chore, at: datetime) -> bool:
        """Whether it is done, by whomever; if not, somebody else is at it, and may yet fail."""
        stayed = 0
        async with self._platform.transaction(read_only=True) as db:
            await db.driver.execute(_WAIT_LITTLE)
            try:
                follows = await db.driver.fetchval(_TICK, each.name, at)
            except asyncpg.LockNotAvailableError:
                return False
            if follows is not None:
                stayed = await _do(db.driver, each, follows=follows)
            await db.commit()
        if stayed:
            _log.error("what comes round by itself left some undone", step=each.name, count=stayed)
            metrics.CHORES_UNDONE.labels(each.name).inc()
        return True

    async def end_overdue(self) -> float:
        """End transactions that have gone on for longer than requests and jobs may; returns when to look again."""
        async with self._platform.transaction(read_only=True) as db:
            ended = await db.driver.fetchval(_END_OVERDUE, self._lease_seconds + _GRACE_SECONDS)
            await db.commit()
        if ended:
            _log.error("transactions went on for too long and were ended", count=ended)
        return _OVERDUE_SECONDS


async def _do(driver: Driver, each: Schedule | Chore, *, follows: bool) -> int:
    """Returns of how many some stays that could not be done."""
    if isinstance(each, Chore):
        rows = await driver.fetch(each.statement, *each.binds)
        return sum(row.get("stayed", 0) for row in rows)
    if follows:
        payload = msgspec.json.encode(each.task).decode()
        await driver.execute(_ENQUEUE, new_uuid(), each.task.QUEUE, each.task.NAME, payload)
    return 0
