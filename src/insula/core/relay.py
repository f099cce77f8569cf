"""The relay: takes due jobs from Postgres, a turn for each organization, and hands them to the queue."""

import asyncio
import hashlib
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from redis.exceptions import RedisError

from insula.core.db import LOST, Database
from insula.core.errors import Unavailable
from insula.core.ids import NIL, to_text
from insula.core.jobs import BELL, ID_PREFIX
from insula.core.pace import Pace
from insula.core.queue import Queue
from insula.core.runner import Lease

POLL_SECONDS: Final = 0.2
BREATH_SECONDS: Final = 0.01
"""Between two looks while there is work: bells that ring faster share one."""
FAILED_PAUSE: Final = 1.0
COMPLAINT_SECONDS: Final = 60.0
"""However often it fails meanwhile."""
PACED_SECONDS: Final = 0.02
"""Between two looks while all that wait must: often enough that they come one at a time, and nobody meets several."""
LARGEST_SHARE: Final = 4
"""One organization may have a quarter of all jobs in flight."""
PROGRAM: Final = UUID(int=2**128 - 1)
"""The lane of what belongs to nobody, such as letters of sign-up: everybody's, so no one's pace is asked there."""

_AWAY: Final = (Unavailable, *LOST, RedisError)
_CLAIM: Final = "SELECT * FROM app.claim_jobs($1, $2, $3, $4, $5, $6, $7, $8)"
_RETURN: Final = "SELECT app.return_claims($1, $2)"

_log = structlog.get_logger("insula.relay")


class Claim(msgspec.Struct, frozen=True):
    """A job that is ours to hand out."""

    job: UUID
    attempt: int
    lane: UUID
    secret: bytes

    @property
    def lease(self) -> Lease:
        return Lease(to_text(ID_PREFIX, self.job), self.secret)


class Caps(msgspec.Struct, frozen=True):
    """How much is handed out."""

    in_flight: int
    """Jobs of a queue that may be leased at a time, all relays together."""
    ahead: int
    """Leases that may wait in a queue's list, all relays together."""
    pace: Pace
    """How fast one organization's jobs may go, those of all queues together."""


class Relay:
    """Keeps a few leases of a queue waiting, never many: whoever comes next should not stand behind a flood.

    Every worker process runs one for each queue that it serves; those of one queue take turns in the database.
    """

    def __init__(self, platform: Database, queue: Queue, name: str, caps: Caps, *, lease_seconds: float) -> None:
        self._platform = platform
        self._queue = queue
        self._name = name
        self._caps = caps
        self._lease_seconds = lease_seconds
        self._after_lane = NIL
        self._bell = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Hand out jobs until told to stop."""
        listening = asyncio.create_task(self._listen())
        try:
            await repeat(self.hand_out, stopping, self._bell)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def hand_out(self) -> float:
        """Claim what may go and hand it over; returns in how many seconds to look again."""
        # Redis is asked first: while it is away nothing is claimed.
        room = self._caps.ahead - await self._queue.waiting(self._name)
        if room <= 0:
            return BREATH_SECONDS
        claims, next_lane = await self._claim(room)
        if claims:
            try:
                leases = [(claim.lease, claim.attempt) for claim in claims]
                await self._queue.dispatch(self._name, leases, self._lease_seconds)
            except (RedisError, OSError):
                await self._return(claims)
                raise
        began_late, self._after_lane = self._after_lane != NIL, next_lane
        if began_late and next_lane == NIL and len(claims) < room:
            return 0.0  # the circle's end came early: look at its beginning at once
        return self._until_next(claims, room)

    def _until_next(self, claims: list[Claim], room: int) -> float:
        pace = self._caps.pace
        if len(claims) == room or not all(pace.must_wait(claim.lane) for claim in claims):
            return BREATH_SECONDS  # there may be more
        wait = pace.wait()
        return POLL_SECONDS if wait is None else min(max(wait, PACED_SECONDS), POLL_SECONDS)

    async def _claim(self, room: int) -> tuple[list[Claim], UUID]:
        fresh = [secrets.token_bytes(32) for _ in range(room)]
        hashes = [_hash(secret) for secret in fresh]
        total, share, left = self._caps.in_flight, max(1, self._caps.in_flight // LARGEST_SHARE), self._caps.pace.left()
        async with self._platform.transaction(read_only=True) as db:
            found = await db.driver.fetchrow(
                _CLAIM,
                self._name,
                hashes,
                self._lease_seconds,
                total,
                share,
                self._after_lane,
                [*left],
                [*left.values()],
            )
            await db.commit()
        taken = zip(found["jobs"] or (), found["attempts"] or (), found["lanes"] or (), fresh, strict=False)
        claims = [Claim(*claim) for claim in taken]
        self._caps.pace.spend(claim.lane for claim in claims if claim.lane != PROGRAM)
        return claims, found["next_lane"]

    async def _return(self, claims: list[Claim]) -> None:
        async with self._platform.transaction(read_only=True) as db:
            await db.driver.execute(_RETURN, [claim.job for claim in claims], [_hash(claim.secret) for claim in claims])
            await db.commit()

    async def _listen(self) -> None:
        """Hear the bell; deaf for a while is only slower."""
        while True:
            try:
                async with self._queue.redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(BELL)
                    while True:
                        if await subscription.get_message(timeout=60) is not None:
                            self._bell.set()
            except (RedisError, OSError):
                await asyncio.sleep(FAILED_PAUSE)


async def repeat(
    step: Callable[[], Awaitable[float]], stopping: asyncio.Event, bell: asyncio.Event | None = None
) -> None:
    """Take a step again and again, each as many seconds after the last as that one asked for, or when the bell rings.

    Nothing a step raises ends this: the database and Redis come back, and a fault in one step must not stop the rest.
    """
    told = -math.inf
    while not stopping.is_set():
        try:
            pause = await step()
        except Exception as error:  # noqa: BLE001  # the next step may go well
            if time.monotonic() - told > COMPLAINT_SECONDS:
                _complain(step, error)
                told = time.monotonic()
            pause = FAILED_PAUSE
        await _pause(min(pause, BREATH_SECONDS), stopping)
        if pause > BREATH_SECONDS:
            await _pause(pause - BREATH_SECONDS, bell or stopping)
        if bell:
            bell.clear()


def _complain(step: Callable[[], Awaitable[float]], error: Exception) -> None:
    """A server that is away says all in its own words; only a fault of ours needs the way it came."""
    away = isinstance(error, _AWAY)
    cause: dict[str, Any] = {"cause": getattr(error, "private", None) or repr(error)} if away else {"exc_info": error}
    _log.warning("the relay cannot work", step=step.__qualname__, **cause)


async def _pause(seconds: float, until: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        pass


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
