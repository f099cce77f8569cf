"""Rate limits: the generic cell rate algorithm on Redis, or alone while Redis is away.

Libraries were looked at: `limits` has no GCRA and asks once per limit; `throttled-py` takes one key per round
trip; `pyrate-limiter` stores an entry per request under the caller's clock. None decides several limits
atomically, and this runs in every request.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.core import metrics
from insula.core.cache import Script

_PATIENCE_SECONDS: Final = 0.25
_PROBE_SECONDS: Final = 1.0
_LOCAL_KEYS: Final = 10_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")

log = structlog.get_logger(__name__)

SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local backlogs, fit = {}, true
for i, key in ipairs(KEYS) do
  local interval, capacity = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  backlogs[i] = math.max((tonumber(redis.call('GET', key)) or 0) - now, 0)
  fit = fit and backlogs[i] + interval <= capacity
end
if fit and ARGV[1] == '1' then
  for i, key in ipairs(KEYS) do
    local backlog = backlogs[i] + tonumber(ARGV[2 * i])
    redis.call('SET', key, string.format('%.0f', now + backlog), 'PX', math.ceil(backlog / 1000))
  end
end
return backlogs
"""
"""Stores per key when all that was taken will be paid off, in microseconds of the server's clock.

ARGV: whether to take, then interval and capacity per key. Answers how far each lay ahead before this request.
"""


class Limit(msgspec.Struct, frozen=True):
    """So many requests in a window, of which ``burst`` may come at once (0: all of them)."""

    name: str
    """Shown to callers in RateLimit-Policy, and a label of the metrics."""
    quantity: int
    window: int
    """Seconds."""
    burst: int = 0
    strict: bool = False
    """For what must not be guessed, such as passwords: a quarter per process while Redis is away."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"not a name for a limit: {self.name!r}")
        if self.window < 1 or not 1 <= self.quantity <= self.window * 1_000_000 or self.burst < 0:
            raise ValueError(f"the limit {self.name} allows nothing, or more than one request a microsecond")

    @property
    def interval(self) -> int:
        """Microseconds that one request uses up."""
        return self.window * 1_000_000 // self.quantity

    @property
    def capacity(self) -> int:
        """Microseconds that may be used up in advance."""
        return self.interval * (self.burst or self.quantity)


class Decision(msgspec.Struct, frozen=True):
    """Whether a request may proceed, and how its caller stands with the tightest limit."""

    allowed: bool
    limit: Limit
    remaining: int
    reset_seconds: int
    """Until the whole burst is there again."""
    retry_after: int
    """Seconds until one request would pass; 0 when this one did."""


class Limiter:
    """Counts requests against limits that all processes share."""

    def __init__(self, redis: Redis) -> None:
        self._script = Script(redis, SCRIPT, _PATIENCE_SECONDS)
        self._alone = LocalBacklogs()
        self._away_until = 0.0

    async def check(self, limits: Sequence[tuple[str, Limit]]) -> Decision:
        """Take one request from every limit, or from none when one of them has none left.

        Limits come with their keys (``cache.key``), no key twice, all of one tenant.
        """
        return await self._decide(limits, take=True)

    async def peek(self, limits: Sequence[tuple[str, Limit]]) -> Decision:
        """What ``check`` would say, without taking anything."""
        return await self._decide(limits, take=False)

    async def _decide(self, limits: Sequence[tuple[str, Limit]], *, take: bool) -> Decision:
        backlogs = await self._ask(limits, take=take)
        suffix = ""
        if backlogs is None:
            limits = [(key, _quarter(limit) if limit.strict else limit) for key, limit in limits]
            backlogs = self._alone.decide(limits, take=take)
            suffix = "_alone"
        decision = judge(limits, backlogs, take=take)
        if take:
            _counted(decision.limit.name, ("allowed" if decision.allowed else "refused") + suffix).inc()
        return decision

    async def _ask(self, limits: Sequence[tuple[str, Limit]], *, take: bool) -> list[int] | None:
        """The shared state; None while Redis is away, which costs one request a second its patience."""
        now = time.monotonic()
        if now < self._away_until:
            return None
        was_away = self._away_until > 0
        if was_away:  # this request probes, the others need not wait for it
            self._away_until = now + _PROBE_SECONDS
        arguments = [int(take)]
        for _, limit in limits:
            arguments += (limit.interval, limit.capacity)
        try:
            backlogs: list[int] = await self._script.run([key for key, _ in limits], arguments)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._away_until:
                log.warning("redis is away, limits are counted per process", error=repr(error))
            self._away_until = time.monotonic() + _PROBE_SECONDS
            return None
        if was_away:
            self._away_until = 0.0
            log.info("redis is back, limits are shared again")
        return backlogs


class LocalBacklogs:
    """The script's twin in memory: this process alone, the least recently seen keys forgotten first."""

    def __init__(self, microseconds: Callable[[], int] = lambda: time.monotonic_ns() // 1000) -> None:
        self._now = microseconds
        self._paid_off: OrderedDict[str, int] = OrderedDict()

    def decide(self, limits: Sequence[tuple[str, Limit]], *, take: bool) -> list[int]:
        """As SCRIPT: take from every limit or from none, and answer the backlogs there were before."""
        now = self._now()
        backlogs = [max(self._paid_off.get(key, 0) - now, 0) for key, _ in limits]
        fit = all(
            backlog + limit.interval <= limit.capacity for (_, limit), backlog in zip(limits, backlogs, strict=True)
        )
        for (key, limit), backlog in zip(limits, backlogs, strict=True):
            if fit and take:
                self._paid_off[key] = now + backlog + limit.interval
            if key in self._paid_off:
                self._paid_off.move_to_end(key)
        while len(self._paid_off) > _LOCAL_KEYS:
            self._paid_off.popitem(last=False)
        return backlogs


def judge(limits: Sequence[tuple[str, Limit]], backlogs: Sequence[int], *, take: bool) -> Decision:
    """How the caller stands with the tightest limit: the one with the longest wait, else the least left."""
    pairs = [(limit, backlog) for (_, limit), backlog in zip(limits, backlogs, strict=True)]
    allowed = all(_wait(limit, backlog) == 0 for limit, backlog in pairs)
    taken = int(allowed and take)
    limit, backlog = min(pairs, key=lambda pair: (-_wait(*pair), _left(*pair)))
    after = backlog + taken * limit.interval
    return Decision(
        allowed=allowed,
        limit=limit,
        remaining=_left(limit, after),
        reset_seconds=-(-after // 1_000_000),
        retry_after=-(-_wait(limit, backlog) // 1_000_000),
    )


def _wait(limit: Limit, backlog: int) -> int:
    return max(backlog + limit.interval - limit.capacity, 0)


def _left(limit: Limit, backlog: int) -> int:
    return max(limit.capacity - backlog, 0) // limit.interval


@lru_cache
def _quarter(limit: Limit) -> Limit:
    return msgspec.structs.replace(
        limit, quantity=max(limit.quantity // 4, 1), burst=max((limit.burst or limit.quantity) // 4, 1)
    )


@lru_cache
def _counted(limit: str, outcome: str) -> Counter:
    return metrics.RATE_LIMIT_DECISIONS.labels(limit, outcome)
