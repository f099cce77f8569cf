"""SAQ as the dispatcher: it carries leases to workers. What must not be lost is in Postgres, so Redis may lose all."""

import asyncio
import logging
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import saq
import structlog
from msgspec import Meta
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from saq.job import Status
from saq.queue.redis import RedisQueue

from insula.core.lately import LATELY
from insula.core.runner import GRACE_SECONDS, Lease, Runner
from insula.core.schemas import Task

NAME: Final = "insula"
_LOOK_SECONDS: Final = 1.0
"""How long a worker waits for a job at a time, and so how long an idle one takes to stop."""
_AWAY_PAUSE: Final = 0.5
_RUN: Final = "run"
_KEY_LENGTH: Final = 100
_LONGEST_TIMEOUT: Final = 100_000
"""Seconds: more than the longest lease, a day."""
_ERROR_LENGTH: Final = 200

_log = structlog.get_logger("insula.queue")
logging.getLogger("saq").setLevel(logging.WARNING)  # below that it tells several lines about every job


class _Arguments(msgspec.Struct):
    job_id: Annotated[str, Meta(max_length=_KEY_LENGTH)]
    secret: Annotated[bytes, Meta(max_length=32)]


class _Message(msgspec.Struct):
    """What dispatch writes, as SAQ serializes it."""

    function: Literal["run"]
    kwargs: _Arguments
    key: Annotated[str, Meta(max_length=_KEY_LENGTH)]
    timeout: Annotated[int, Meta(ge=1, le=_LONGEST_TIMEOUT)]


class Queue(RedisQueue):
    """A list of leases in Redis for each queue that is served here, and nothing else.

    SAQ's own bookkeeping (running jobs, results, retries, sweeps) is left out: leases in Postgres do all of it, and
    SAQ's sweeper aborts jobs that were only just taken.
    """

    def __init__(self, redis: Redis, served: Sequence[str] = (Task.QUEUE,)) -> None:
        super().__init__(redis, name=NAME)
        self.served = tuple(served)
        self.closing = False
        self._lists = {name: self._queued if name == Task.QUEUE else f"{self._queued}:{name}" for name in served}
        self._order = deque(self._lists.values())
        self._turn = asyncio.Lock()

    async def waiting(self, name: str) -> int:
        """How many leases of this queue no worker has taken yet."""
        place = self._lists[name]
        try:
            return int(await self.redis.llen(place))  # type: ignore[misc]  # redis-py: sync or async
        except ResponseError:
            if await self.redis.type(place) in {b"list", "list"}:
                raise
            # Somebody wrote there what is no list, and everything would stand still behind it for good. Postgres has
            # the jobs.
            _log.warning("what stands in the place of the queue is not ours, and is removed")
            await self.redis.delete(place)
            return 0

    async def dispatch(self, name: str, leases: Sequence[tuple[Lease, int]], seconds: float) -> None:
        """Hand leases of this queue, each with its attempt's number, to the workers, in this order and in one step."""
        timeout = int(seconds + 2 * GRACE_SECONDS)
        jobs = [self._job(lease, f"{lease.job_id}:{attempt}", timeout) for lease, attempt in leases]
        await self.redis.rpush(self._lists[name], *map(self.serialize, jobs))  # type: ignore[misc]  # as above

    def _job(self, lease: Lease, key: str, timeout: int) -> saq.Job:
        arguments = {"job_id": lease.job_id, "secret": b64encode(lease.secret).decode()}
        return saq.Job(function=_RUN, kwargs=arguments, key=key, queue=self, retries=1, timeout=timeout)

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> saq.Job | None:  # noqa: ARG002, ASYNC109  # SAQ's signature
        # One at a time asks, the others wait here: a worker holds one connection, however many jobs it runs.
        async with self._turn:
            if self.closing:
                return None
            self._order.rotate(-1)  # the first that holds something is taken from: each is first in its turn
            try:
                found = await self.redis.blpop([*self._order], timeout=_LOOK_SECONDS)  # type: ignore[misc]  # as above
            except (RedisError, OSError):
                await asyncio.sleep(_AWAY_PAUSE)
                return None
        return None if found is None else self._understood(found[1])

    def _understood(self, message: bytes) -> saq.Job | None:
        """Made anew from what dispatch writes: anybody may have written it, and SAQ tells all that stands in a message
        which it cannot run, each time.
        """
        try:
            found = msgspec.json.decode(message, type=_Message)
        except msgspec.DecodeError as error:
            _complain_of_foreign(repr(error))
            return None
        return self._job(Lease(found.kwargs.job_id, found.kwargs.secret), found.key, found.timeout)

    async def _update(self, job: saq.Job, status: Status | None = None, **kwargs: Any) -> None:
        pass

    async def _finish(self, job: saq.Job, status: Status, *, result: Any = None, error: str | None = None) -> None:
        pass

    async def _retry(self, job: saq.Job, error: str | None) -> None:
        pass


class Worker(saq.Worker[Any]):
    """Runs so many jobs at a time; on ``stop`` it lets those under way finish, then cancels, which releases them."""

    SIGNALS = []  # noqa: RUF012  # the process handles its own

    def __init__(self, queue: Queue, runner: Runner, *, concurrency: int, drain_seconds: int) -> None:
        async def run(_context: Any, *, job_id: str, secret: str) -> None:
            await runner.run(Lease(job_id, b64decode(secret)))

        super().__init__(
            queue,
            [(_RUN, run)],
            concurrency=concurrency,
            shutdown_grace_period_s=drain_seconds,
            cancellation_hard_deadline_s=GRACE_SECONDS,
        )
        self._jobs = queue

    async def upkeep(self) -> list[asyncio.Task[None]]:
        """None of SAQ's: sweeping, retrying and scheduling happen in Postgres, and its timers delay every stop."""
        return []

    async def stop(self) -> None:
        self._jobs.closing = True
        await super().stop()


def _complain_of_foreign(why: str) -> None:
    if LATELY.is_news("a foreign message"):
        _log.warning("a message in the queue is not ours", error=why[:_ERROR_LENGTH])
