"""Requests counted in advance: never more than there were, and hardly any lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.core.cache import connect, key
from insula.core.leases import Leases
from insula.core.limits import Limit, Limiter

KEYS = ("credential", "organization")
BURSTS = (600, 3000)
INTERVALS = (100_000, 20_000)


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Caller:
    """Asks as the limiter does, and counts how often it came to Redis and what that took."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.leases = Leases(self.clock)
        self.asked = self.taken = 0

    def request(self, pause: float) -> None:
        self.clock.seconds += pause
        if self.leases.spend(KEYS, INTERVALS) is None:
            wanted = self.leases.wanted(KEYS, BURSTS)
            self.asked, self.taken = self.asked + 1, self.taken + wanted
            self.leases.keep(KEYS, wanted, [0, 0])


def test_a_busy_caller_hardly_ever_asks() -> None:
    caller = Caller()
    for _ in range(1000):
        caller.request(0.01)
    assert caller.asked < 130
    assert caller.taken < 1000 + 16


def test_an_idle_caller_pays_for_what_it_asks_only() -> None:
    caller = Caller()
    for _ in range(50):
        caller.request(1.9)
    assert caller.taken == 50


@given(st.lists(st.floats(0.001, 4.0), min_size=1, max_size=200))
def test_no_request_passes_that_was_not_taken(pauses: list[float]) -> None:
    caller = Caller()
    for count, pause in enumerate(pauses, 1):
        caller.request(pause)
        assert caller.taken >= count


def test_what_was_leased_long_ago_is_not_spent() -> None:
    caller = Caller()
    caller.leases.keep(KEYS, 8, [0, 0])
    caller.clock.seconds += 2.5
    assert caller.leases.spend(KEYS, INTERVALS) is None


def test_the_backlog_grows_with_each_request_and_is_paid_off_with_time() -> None:
    caller = Caller()
    caller.leases.keep(KEYS, 4, [500_000, 0])
    assert caller.leases.spend(KEYS, INTERVALS) == [600_000, 20_000]
    caller.clock.seconds += 0.5
    assert caller.leases.spend(KEYS, INTERVALS) == [200_000, 0]


@pytest.mark.parametrize("burst", [1, 10, 127])
def test_a_small_limit_is_counted_one_by_one(burst: int) -> None:
    leases = Leases()
    for _ in range(5):
        assert leases.wanted(("k",), (burst,)) == 1
        leases.keep(("k",), 1, [0])


async def test_two_processes_together_admit_no_more_than_the_limit(redis_url: str) -> None:
    limit = Limit("shared", 640, 86_400)
    async with connect(redis_url) as one, connect(redis_url) as other:
        await one.flushdb()
        pair = Limiter(one), Limiter(other)
        allowed = [(await pair[n % 2].check([(key(None, "leased"), limit)])).allowed for n in range(700)]
    assert 500 < sum(allowed) <= 640


async def test_a_caller_is_told_what_is_left_request_by_request(redis_url: str) -> None:
    limit = Limit("told", 640, 86_400)
    async with connect(redis_url) as redis:
        await redis.flushdb()
        limiter = Limiter(redis)
        decisions = [await limiter.check([(key(None, "leased"), limit)]) for _ in range(641)]
    assert [decision.remaining for decision in decisions] == [*range(639, -1, -1), 0]
    assert not decisions[-1].allowed


async def test_passwords_are_never_leased(redis_url: str) -> None:
    limit = Limit("strict", 640, 86_400, strict=True)
    async with connect(redis_url) as redis:
        await redis.flushdb()
        limiter, watcher = Limiter(redis), Limiter(redis)
        for count in range(1, 30):
            await limiter.check([(key(None, "leased"), limit)])
            assert (await watcher.peek([(key(None, "leased"), limit)])).remaining == 640 - count
