"""Rate limits: the generic cell rate algorithm on Redis, some requests in advance, or alone while Redis is away.

Libraries were looked at: `limits` has no GCRA and asks once per limit; `throttled-py` takes one key per round
trip; `pyrate-limiter` stores an entry per request under the caller's clock. None decides several limits
atomically, and this runs in every request.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Final

import msgspec
import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.core import metrics
from insula.core.cache import Script
from insula.core.leases import Leases

_PATIENCE_SECONDS: Final = 0.25
_PROBE_SECONDS: Final = 1.0
_LOCAL_KEYS: Final = 10_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")

log = structlog.get_logger(__name__)

SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local backlogs, granted = {}, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local interval, capacity = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  backlogs[i] = math.max((tonumber(redis.call('GET', key)) or 0) - now, 0)
  if not (backlogs[i] <= capacity) then
    backlogs[i] = capacity
    redis.call('SET', key, string.format('%.0f', now + capacity), 'PX', math.ceil(capacity / 1000))
  end
  granted = math.max(math.min(granted, math.floor((capacity - backlogs[i]) / interval)), 0)
end
if granted > 0 then
  for i, key in ipairs(KEYS) do
    local backlog = backlogs[i] + granted * tonumber(ARGV[2 * i])
    redis.call('SET', key, string.format('%.0f', now + backlog), 'PX', math.ceil(backlog / 1000))
  end
end
return {granted, backlogs}
"""
"""Stores per key when all that was taken will be paid off, in microseconds of the server's clock.

More than its capacity nobody can have used up: a clock was ahead, or somebody else wrote there. It becomes the
capacity, or a tenant would be refused for as long as it says. ARGV: how many requests to take at most, then interval
and capacity per key. Answers how many were taken, and how far each key lay ahead before.
"""


class Limit(msgspec.Struct, frozen=True, dict=True):
    """So many requests in a window, of which ``burst`` may come at once (0: all of them)."""

    name: str
    """Shown to callers in RateLimit-Policy, and a label of the metrics."""
    quantity: int
    window: int
    """Seconds."""
    burst: int = 0
    strict: bool = False
    """For what must not be guessed, such as passwords: a quarter per process while Redis is away."""

    @property
    def at_once(self) -> int:
        """Requests that may come together."""
        return self.burst or self.quantity

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"not a name for a limit: {self.name!r}")
        if self.window < 1 or not 1 <= self.quantity <= self.window * 1_000_000 or self.burst < 0:
            raise ValueError(f"the limit {self.name} allows nothing, or more than one request a microsecond")

    @cached_property
    def interval(self) -> int:
        """Microseconds that one request uses up."""
        return self.window * 1_000_000 // self.quantity

    @cached_property
    def capacity(self) -> int:
        """Microseconds that may be used up in advance."""
        return self.interval * self.at_once


class Decision(msgspec.Struct, frozen=True):
    """Whether a request may proceed, and how its caller stands with the tightest limit."""

    allowed: bool
    limit: Limit
    remaining: int
    reset_seconds: int
    """Until the whole burst is there again."""
    wait: int = 0
    """Microseconds until one request would pass; 0 when this one did."""

    @property
    def retry_after(self) -> int:
        """The wait in whole seconds."""
        return -(-self.wait // 1_000_000)


class Limiter:
    """Counts requests against limits that all processes share."""

    def __init__(self, redis: Redis) -> None:
        self._script = Script(redis, SCRIPT, _PATIENCE_SECONDS)
        self._leases = Leases()
        self._alone = LocalBacklogs()
        self._away_until = 0.0

    async def check(self, limits: Sequence[tuple[str, Limit]]) -> Decision:
        """Take one request from every limit, or from none when one of them has none left.

        Limits come with their keys (``cache.key``), no key twice, all of one tenant.
        """
        keys = tuple(key for key, _ in limits)
        leased = self._leases.spend(keys, [limit.interval for _, limit in limits])
        if leased is None:
            return await self._decide(limits, take=self._wanted(keys, limits))
        decision = judge(limits, leased, take=True)
        decisions_counter(decision.limit.name, "allowed").inc()
        return decision

    async def peek(self, limits: Sequence[tuple[str, Limit]]) -> Decision:
        """What ``check`` would say, without taking anything."""
        return await self._decide(limits, take=0)

    def _wanted(self, keys: tuple[str, ...], limits: Sequence[tuple[str, Limit]]) -> int:
        if any(limit.strict for _, limit in limits):
            return 1
        return self._leases.wanted(keys, [limit.at_once for _, limit in limits])

    async def _decide(self, limits: Sequence[tuple[str, Limit]], *, take: int) -> Decision:
        backlogs = await self._ask(limits, take=take)
        suffix = ""
        if backlogs is None:
            limits = [(key, _quarter(limit) if limit.strict else limit) for key, limit in limits]
            backlogs = self._alone.decide(limits, take=take > 0)
            suffix = "_alone"
        decision = judge(limits, backlogs, take=take > 0)
        if take:
            decisions_counter(decision.limit.name, ("allowed" if decision.allowed else "refused") + suffix).inc()
        return decision

    async def _ask(self, limits: Sequence[tuple[str, Limit]], *, take: int) -> list[int] | None:
        """The shared state; None while Redis is away, which costs one request a second its patience."""
        now = time.monotonic()
        if now < self._away_until:
            return None
        was_away = self._away_until > 0
        if was_away:  # this request probes, the others need not wait for it
            self._away_until = now + _PROBE_SECONDS
        keys, arguments = tuple(key for key, _ in limits), [take]
        for _, limit in limits:
            arguments += (limit.interval, limit.capacity)
        try:
            granted: int
            backlogs: list[int]
            granted, backlogs = await self._script.run(keys, arguments)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._away_until:
                log.warning("redis is away, limits are counted per process", error=repr(error))
            self._away_until = time.monotonic() + _PROBE_SECONDS
            return None
        if was_away:
            self._away_until = 0.0
            log.info("redis is back, limits are shared again")
        if granted:
            self._leases.keep(keys, granted, backlogs)
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
    (_, limit), backlog = limits[0], backlogs[0]
    wait, left = _wait(limit, backlog), _left(limit, backlog)
    for (_, other), ahead in zip(limits[1:], backlogs[1:], strict=True):
        longer, fewer = _wait(other, ahead), _left(other, ahead)
        if (-longer, fewer) < (-wait, left):
            limit, backlog, wait, left = other, ahead, longer, fewer
    allowed = wait == 0
    after = backlog + limit.interval if allowed and take else backlog
    return Decision(allowed, limit, _left(limit, after), -(-after // 1_000_000), wait)


def _wait(limit: Limit, backlog: int) -> int:
    return max(backlog + limit.interval - limit.capacity, 0)


def _left(limit: Limit, backlog: int) -> int:
    return max(limit.capacity - backlog, 0) // limit.interval


@lru_cache
def _quarter(limit: Limit) -> Limit:
    return msgspec.structs.replace(limit, quantity=max(limit.quantity // 4, 1), burst=max(limit.at_once // 4, 1))


@lru_cache
def decisions_counter(limit: str, outcome: str) -> Counter:
    """The metric that counts such decisions."""
    return metrics.RATE_LIMIT_DECISIONS.labels(limit, outcome)
