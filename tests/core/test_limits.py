"""Rate limits: the arithmetic, and what processes share in Redis."""

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from insula.core import metrics
from insula.core.cache import connect
from insula.core.limits import SCRIPT, Limit, Limiter, LocalBacklogs, judge

MICRO = 1_000_000
TEN = Limit("ten", 10, 60)
THREE = Limit("three", 3, 60)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url) as client:
        await client.flushdb()
        yield client


@pytest.fixture
async def limiter(redis: Redis) -> Limiter:
    return Limiter(redis)


# ---- the arithmetic


steps = st.lists(st.tuples(st.integers(0, 40 * MICRO), st.sampled_from(["a", "b"])), max_size=60)
any_limit = st.builds(Limit, st.just("any"), st.integers(1, 20), st.integers(1, 120), burst=st.integers(0, 30))


class TokenBucket:
    """The textbook model: tokens drip in exactly, one per interval, up to the burst."""

    def __init__(self, limit: Limit) -> None:
        self.size, self.interval = limit.burst or limit.quantity, limit.interval
        self.tokens, self.filled_at = Fraction(self.size), 0

    def take(self, now: int) -> tuple[bool, int, int]:
        """Whether a token was there, how many are left, microseconds until there is one."""
        dripped = Fraction(now - self.filled_at, self.interval)
        self.tokens, self.filled_at = min(self.tokens + dripped, Fraction(self.size)), now
        if self.tokens < 1:
            return False, 0, int((1 - self.tokens) * self.interval)
        self.tokens -= 1
        return True, int(self.tokens), 0


@given(any_limit, steps)
def test_local_decisions_are_those_of_a_token_bucket(limit: Limit, steps: list[tuple[int, str]]) -> None:
    now = 5_000 * MICRO
    local = LocalBacklogs(lambda: now)
    buckets = {name: TokenBucket(limit) for name in "ab"}
    for pause, name in steps:
        now += pause
        decision = judge([(name, limit)], local.decide([(name, limit)], take=True), take=True)
        allowed, left, wait = buckets[name].take(now)
        assert (decision.allowed, decision.remaining) == (allowed, left)
        assert decision.retry_after == -(-wait // MICRO)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.tuples(st.integers(0, 90), st.booleans()), max_size=25))
async def test_redis_and_local_decisions_agree(
    redis_url: str, first: int, second: int, steps: list[tuple[int, bool]]
) -> None:
    now = 1_700_000_000 * MICRO  # a wall clock's size: doubles in Lua must hold it exactly
    local = LocalBacklogs(lambda: now)
    script = SCRIPT.replace("redis.call('TIME')", "{0, redis.call('GET', 'clock')}")
    # Intervals of a minute or more: stored values expire by the server's real clock, out of the way.
    pair = [("x", Limit("first", first, 60 * first)), ("y", Limit("second", second, 97 * second))]
    arguments = [value for _, limit in pair for value in (limit.interval, limit.capacity)]
    async with connect(redis_url) as redis:
        await redis.flushdb()
        for pause, take in steps:
            now += pause * MICRO + 1
            await redis.set("clock", now)
            shared = await redis.eval(script, 2, "x", "y", int(take), *arguments)  # type: ignore[misc]
            granted, backlogs = shared
            expected = local.decide(pair, take=take)
            assert backlogs == expected
            assert granted == int(take and judge(pair, expected, take=take).allowed)


def test_the_tightest_limit_is_told_to_the_caller() -> None:
    pair = [("x", TEN), ("y", THREE)]
    fresh = judge(pair, [0, 0], take=True)
    assert (fresh.limit, fresh.remaining, fresh.retry_after) == (THREE, 2, 0)
    refused = judge(pair, [TEN.capacity, 0], take=True)
    assert (refused.allowed, refused.limit, refused.remaining) == (False, TEN, 0)
    assert (refused.retry_after, refused.reset_seconds) == (6, 60)
    assert judge(pair, [TEN.capacity, THREE.capacity], take=True).retry_after == 20


@pytest.mark.parametrize(
    "wrong", [('x"y', 1, 1), ("", 1, 1), ("n", 0, 1), ("n", 1, 0), ("n", 1, 1, -1), ("n", 2_000_000, 1)]
)
def test_a_limit_that_makes_no_sense_is_refused(wrong: tuple[str, int, int]) -> None:
    with pytest.raises(ValueError, match="limit"):
        Limit(*wrong)


def test_local_state_is_bounded_and_forgets_the_least_recently_seen() -> None:
    local = LocalBacklogs(lambda: 0)
    for number in range(10_001):
        local.decide([("busy", TEN)], take=True)  # soon refused, and still remembered
        local.decide([(str(number), TEN)], take=True)
    assert len(local._paid_off) == 10_000
    assert local.decide([("0", TEN)], take=False) == [0]
    assert local.decide([("busy", TEN)], take=False) == [TEN.capacity]


# ---- Redis


async def test_a_burst_passes_then_waits_then_trickles(limiter: Limiter) -> None:
    fast = Limit("fast", 1, 1, burst=5)
    allowed = [(await limiter.check([("k", fast)])).allowed for _ in range(6)]
    assert allowed == [True] * 5 + [False]
    await asyncio.sleep(1.05)
    assert [(await limiter.check([("k", fast)])).allowed for _ in range(2)] == [True, False]


async def test_several_limits_are_taken_together_or_not_at_all(limiter: Limiter) -> None:
    pair = [("x", TEN), ("y", THREE)]
    assert [(await limiter.check(pair)).allowed for _ in range(5)] == [True] * 3 + [False] * 2
    assert (await limiter.peek([("x", TEN)])).remaining == 7


async def test_a_peek_takes_nothing(limiter: Limiter) -> None:
    for _ in range(5):
        assert (await limiter.peek([("k", THREE)])).remaining == 3
    assert [(await limiter.check([("k", THREE)])).allowed for _ in range(4)] == [True] * 3 + [False]
    assert not (await limiter.peek([("k", THREE)])).allowed


async def test_processes_racing_for_the_last_request_get_it_once(redis_url: str, redis: Redis) -> None:
    async with connect(redis_url) as other:
        pair = Limiter(redis), Limiter(other)
        limit = Limit("race", 50, 3600)
        decisions = await asyncio.gather(*(pair[n % 2].check([("k", limit)]) for n in range(200)))
    assert sum(decision.allowed for decision in decisions) == 50


async def test_a_crowd_is_not_mistaken_for_an_outage(limiter: Limiter) -> None:
    async def caller() -> None:
        for _ in range(15):
            await limiter.check([("k", Limit("crowd", 1_000_000, 60))])

    await asyncio.gather(*(caller() for _ in range(200)))
    assert decided("crowd", "allowed") == 3000


async def test_what_is_stored_expires_when_it_is_paid_off(limiter: Limiter, redis: Redis) -> None:
    await limiter.check([("k", TEN)])
    await limiter.check([("k", TEN)])
    assert 11_000 < await redis.pttl("k") <= 12_000


@pytest.mark.parametrize("ahead", ["9000000000000000", "1e308", "nan", "9" * 40])
async def test_whatever_stands_there_refuses_nobody_for_longer_than_a_window(
    limiter: Limiter, redis: Redis, ahead: str
) -> None:
    quick = Limit("quick", 4, 1)
    await redis.set("k", ahead)
    refused = await limiter.check([("k", quick)])
    assert not refused.allowed
    assert refused.wait <= quick.interval
    assert 0 < await redis.pttl("k") <= 1000
    await asyncio.sleep(0.3)
    assert (await limiter.check([("k", quick)])).allowed


async def test_a_server_that_forgot_the_script_is_given_it_again(limiter: Limiter, redis: Redis) -> None:
    await limiter.check([("k", THREE)])
    await redis.script_flush()
    assert (await limiter.check([("k", THREE)])).remaining == 1


async def test_an_abandoned_check_does_not_answer_the_next_one(limiter: Limiter, redis: Redis) -> None:
    await limiter.check([("a", THREE)])
    for number in range(50):
        abandoned = asyncio.create_task(limiter.check([("a", THREE), ("b", THREE)]))
        await asyncio.sleep(number / 100_000)
        abandoned.cancel()
        assert await redis.echo(str(number)) == str(number).encode()


async def test_a_key_that_cannot_be_sent_fails_its_own_check_only(limiter: Limiter) -> None:
    good, bad = await asyncio.gather(
        limiter.check([("k", THREE)]), limiter.check([("\ud800", THREE)]), return_exceptions=True
    )
    assert isinstance(bad, UnicodeEncodeError)
    assert not isinstance(good, BaseException)
    assert (await limiter.check([("k", THREE)])).remaining == 1


async def test_decisions_are_counted_by_name(limiter: Limiter) -> None:
    for _ in range(3):
        await limiter.check([("k", Limit("counted", 2, 60))])
    assert (decided("counted", "allowed"), decided("counted", "refused")) == (2, 1)


def decided(limit: str, outcome: str) -> float:
    labels = {"limit": limit, "outcome": outcome}
    return metrics.REGISTRY.get_sample_value("rate_limit_decisions_total", labels) or 0
