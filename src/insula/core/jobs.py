"""Background jobs: asked for inside a transaction, run after it, exactly once as far as the database can tell."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from croniter import croniter
from redis.asyncio import Redis

from insula.core.db import Transaction
from insula.core.ids import new_uuid, to_text
from insula.core.keyring import Keyring
from insula.core.mail import Mail, Mailer, MailRefused
from insula.core.schemas import Task
from insula.core.tracing import current

ID_PREFIX: Final = "job"
BELL: Final = "insula:jobs"
"""The Redis channel on which the relay hears that jobs were committed."""

P = TypeVar("P")
R = TypeVar("R")


def enqueue(db: Transaction, task: Task, *, delay: float = 0.0) -> str:
    """Ask for ``task`` to be done ``delay`` seconds after this transaction commits, and never if it does not.

    Returns the job's id.
    """
    job = new_uuid()
    db.journal.tasks.append(
        {
            "id": job,
            "queue": task.QUEUE,
            "task": task.NAME,
            "payload": msgspec.to_builtins(task),
            "delay": delay,
            "trace": current(db.facts.trace_id),
        }
    )
    return to_text(ID_PREFIX, job)


async def wake(redis: Redis) -> None:
    """Tell the relays that jobs were committed. Only speed depends on it: they look by themselves as well."""
    await redis.publish(BELL, b"")


class Services(msgspec.Struct, frozen=True):
    """What handlers may use of the world outside of the database."""

    mailer: Mailer
    keyring: Keyring


class JobContext(msgspec.Struct, frozen=True):
    """One attempt at a job. ``job_id`` stays the same over all attempts: an idempotency key for other systems."""

    job_id: str
    attempt: int
    services: Services


class Effect(msgspec.Struct, Generic[P, R], frozen=True, kw_only=True):
    """A handler that reaches outside of the database, and so takes three steps.

    ``prepare`` reads, in a transaction that is over before anything leaves the house, and says what to do; None says
    that there is nothing to do any more. ``perform`` does it, holding no connection. ``record`` writes down the
    result in the transaction that ends the job: it alone counts once. A crash in between repeats the other two, so
    hand the ``job_id`` on as idempotency key.
    """

    prepare: Callable[[Transaction, Any, JobContext], Awaitable[P | None]]
    perform: Callable[[P, JobContext], Awaitable[R]]
    record: Callable[[Transaction, Any, R, JobContext], Awaitable[None]] | None = None


Handler: TypeAlias = Callable[[Transaction, Any, JobContext], Awaitable[None]] | Effect[Any, Any]
"""A plain function does all of its work, the end of the job included, in one transaction."""


class GiveUp(Exception):
    """Raised by a handler when trying again cannot help: the job becomes a dead letter at once."""


def mailing(prepare: Callable[[Transaction, Any, JobContext], Awaitable[Mail | None]]) -> Effect[Mail, None]:
    """The handler of a task that sends the letter which ``prepare`` writes."""
    return Effect(prepare=prepare, perform=_deliver)


async def _deliver(mail: Mail, context: JobContext) -> None:
    try:
        await context.services.mailer.send(mail)
    except MailRefused as error:
        raise GiveUp(str(error)) from error


class Schedule(msgspec.Struct, frozen=True):
    """A task that comes round by itself, once per tick however many relays run.

    ``every`` is a period, counted from 1970, or a cron line in UTC. After a pause only the latest missed tick is
    made up for; a schedule that is new waits for its next one.
    """

    name: str
    every: timedelta | str
    task: Task


def latest_tick(every: timedelta | str, now: datetime) -> datetime:
    """The last tick at or before ``now``."""
    if isinstance(every, timedelta):
        seconds = every.total_seconds()
        return datetime.fromtimestamp(now.timestamp() // seconds * seconds, now.tzinfo)
    # get_prev looks strictly before its start.
    previous: datetime = croniter(every, now + timedelta(microseconds=1)).get_prev(datetime)
    return previous
