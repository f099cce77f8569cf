"""Runs one claimed job: through its door, in its tenant, to exactly one end."""

import asyncio
import random
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg
import msgspec
import structlog
from sqlalchemy.exc import DBAPIError

from insula.core import metrics
from insula.core.db import Database, Transaction
from insula.core.errors import Unavailable
from insula.core.ids import to_text, to_uuid
from insula.core.jobs import ID_PREFIX, Effect, GiveUp, Handler, JobContext, Services
from insula.core.lately import LATELY
from insula.core.permissions import Facts, Principal
from insula.core.schemas import Task
from insula.core.tracing import TRACES, trace_id_of

Outcome = Literal["done", "failed", "dead", "stale", "unknown", "released"]

LONGEST_PAUSE: Final = 3600.0
GRACE_SECONDS: Final = 5.0
"""How much longer than its handler a lease lives, so that a handler out of time is a failure and not a crash."""

_AWAY: Final = (
    Unavailable,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    DBAPIError,
    OSError,
)
_AWAY_PAUSE: Final = 0.5
_UNKNOWN_PAUSE: Final = 5.0
_LONGEST_UNKNOWN_PAUSE: Final = 300.0
UNKNOWN_LIMIT: Final = 300
"""Tries, about a day of them, before a job whose task no worker knows is a dead letter."""
_ERROR_LENGTH: Final = 500
GAVE_UP: Final = "job gave up"
"""In the log: a handler foresaw an end, which stands beside it as ``reason``."""

_START: Final = "SELECT * FROM app.start_job($1, $2, $3)"
_ENTER: Final = "SELECT * FROM app.enter_job($1, $2)"
_FINISH: Final = "SELECT app.finish_job($1, $2)"
_FAIL: Final = "SELECT app.fail_job($1, $2, $3, $4)"
_RELEASE: Final = "SELECT app.release_job($1, $2, $3)"

_log = structlog.get_logger("insula.jobs")


class Lease(msgspec.Struct, frozen=True):
    """The right to run one job once. The secret is all the power it has, and the row knows only its hash."""

    job_id: str
    secret: bytes

    @property
    def proof(self) -> tuple[UUID, bytes]:
        """What the doors ask for."""
        return to_uuid(ID_PREFIX, self.job_id), self.secret


class LeaseLost(Exception):
    """The job belongs to somebody else by now, or is over: nothing of this run may count."""


class Runner:
    """Gives claimed jobs to their handlers and sees to it that each run ends in one commit, or in none.

    ``lease_seconds`` is how long a handler may take.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[type[Task], Handler],
        services: Services,
        lease_seconds: float,
    ) -> None:
        self._database = database
        self._handlers = {task.NAME: (task, handler) for task, handler in handlers.items()}
        if len(self._handlers) != len(handlers):
            raise ValueError("two tasks share a name")
        self._services = services
        self._lease_seconds = lease_seconds

    async def run(self, lease: Lease) -> None:
        """Run the job; whatever its handler does, this raises only when it is cancelled or the database stays away."""
        started = await self._ask(_START, *lease.proof, self._lease_seconds + GRACE_SECONDS)
        if started["verdict"] != "admitted":
            metrics.JOBS.labels("unknown", "stale").inc()
            return
        found = self._handlers.get(started["task"])
        if found is None:
            await self._pass_on(lease, started)
            return
        task, attempt, trace_id = started["task"], started["attempt"], trace_id_of(started["trace"])
        with (
            structlog.contextvars.bound_contextvars(job_id=lease.job_id, task=task, attempt=attempt, trace_id=trace_id),
            TRACES.span("job", started["trace"]) as span,
        ):
            began = time.monotonic()
            outcome = await self._attempt(lease, started, *found)
            metrics.JOBS.labels(task, outcome).inc()
            metrics.JOB_SECONDS.labels(task).observe(time.monotonic() - began)
            if span is not None:
                about = {"insula.job_id": lease.job_id, "insula.attempt": attempt, "insula.outcome": outcome}
                span.describe(f"job {task}", about, failed=outcome not in {"done", "stale"})

    async def _pass_on(self, lease: Lease, started: asyncpg.Record) -> None:
        """An older or newer release may know the task: ours does not count a failure, but it does not wait forever."""
        task, attempt = started["task"], started["attempt"]
        metrics.JOBS.labels("unknown", "unknown").inc()
        if LATELY.is_news(("unknown task", task)):
            _log.warning("unknown task", job_id=lease.job_id, task=task)
        if attempt >= UNKNOWN_LIMIT:
            _log.error("a job that no release knows is a dead letter", job_id=lease.job_id, task=task)
            await self._ask(_FAIL, *lease.proof, f"no release that ran meanwhile knows the task {task}", None)
            return
        pause = random.uniform(0.5, 1.5) * min(_UNKNOWN_PAUSE * attempt, _LONGEST_UNKNOWN_PAUSE)  # noqa: S311  # not a secret
        await self._ask(_RELEASE, *lease.proof, pause)

    async def _attempt(self, lease: Lease, started: asyncpg.Record, kind: type[Task], handler: Handler) -> Outcome:
        try:
            async with asyncio.timeout(self._lease_seconds):
                task = msgspec.json.decode(started["payload"], type=kind)
                context = JobContext(lease.job_id, started["attempt"], self._services)
                await self._handle(lease, trace_id_of(started["trace"]), handler, task, context)
        except LeaseLost:
            _log.warning("the job was given to another worker meanwhile")
            return "stale"
        except asyncio.CancelledError:
            await asyncio.shield(self._ask(_RELEASE, *lease.proof, 0.0))
            metrics.JOBS.labels(started["task"], "released").inc()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this job's failure and not the worker's
            return await self._fail(lease, error, started["failures"] + 1, kind.MAX_FAILURES)
        return "done"

    async def _handle(self, lease: Lease, trace: str | None, handler: Handler, task: Task, context: JobContext) -> None:
        if not isinstance(handler, Effect):
            async with self._entered(lease, trace) as db:
                await handler(db, task, context)
                await _finish(db, lease)
            return
        async with self._entered(lease, trace) as db:
            plan = await handler.prepare(db, task, context)
            if plan is None:
                await _finish(db, lease)
                return
            await db.commit()
        result = await handler.perform(plan, context)
        async with self._entered(lease, trace) as db:
            if handler.record is not None:
                await handler.record(db, task, result, context)
            await _finish(db, lease)

    @asynccontextmanager
    async def _entered(self, lease: Lease, trace: str | None) -> AsyncIterator[Transaction]:
        async with self._database.transaction() as db:
            found = await db.driver.fetchrow(_ENTER, *lease.proof)
            if found["verdict"] != "admitted":
                raise LeaseLost
            db.principal = Principal(
                user_id=to_text("usr", found["user_id"]) if found["user_id"] else None,
                credential_id=lease.job_id,
                credential_kind="job",
                organization_id=to_text("org", found["tenant_id"]) if found["tenant_id"] else None,
            )
            db.facts = Facts(trace_id=trace)
            yield db

    async def _fail(self, lease: Lease, error: Exception, failures: int, limit: int) -> Outcome:
        final = isinstance(error, GiveUp) or failures >= limit
        pause = None if final else backoff(failures)
        if isinstance(error, GiveUp):  # an end that the handler foresaw: where it was raised tells nothing
            _log.warning(GAVE_UP, reason=describe(error))
        else:
            log = _log.error if final else _log.warning
            log("job failed", failures=failures, dead=final, retry_in=pause, exc_info=error)
        kept = await self._ask(_FAIL, *lease.proof, describe(error), pause)
        if not kept["fail_job"]:
            return "stale"
        return "dead" if final else "failed"

    async def _ask(self, question: str, *arguments: Any) -> asyncpg.Record:
        """Ask a door outside of the handler's transaction; while the database is away, as long as the lease lives."""
        give_up = time.monotonic() + self._lease_seconds + GRACE_SECONDS
        while True:
            try:
                async with self._database.transaction(read_only=True) as db:
                    answer = await db.driver.fetchrow(question, *arguments)
                    await db.commit()
                    return answer
            except _AWAY:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(_AWAY_PAUSE)


async def _finish(db: Transaction, lease: Lease) -> None:
    driver = await db.flush()
    if not await driver.fetchval(_FINISH, *lease.proof):
        raise LeaseLost
    await db.commit()


def backoff(failures: int) -> float:
    """Seconds until the next try: anything up to 2, 4, 8, ... and an hour at most.

    The full range is drawn from, so that jobs which failed together do not come back together.
    """
    return random.uniform(0, min(LONGEST_PAUSE, 2.0 ** min(failures, 20)))  # noqa: S311  # not a secret


def describe(error: Exception) -> str:
    """What an operator reads in the row: the kind, the first line, the place. Later lines may quote rows and values."""
    lines = str(error).replace("\0", "").splitlines()
    # Whoever foresaw the end says why; where that happened is the place of what they caught.
    origin = error.__cause__ if isinstance(error, GiveUp) and error.__cause__ else error
    frames = traceback.extract_tb(origin.__traceback__)
    place = f" ({frames[-1].filename.rpartition('/src/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:_ERROR_LENGTH] + place
