"""The relay: how much is under way, and what happens when Redis is not there."""

import asyncio
import time
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from insula.core.errors import Unavailable
from insula.core.jobs import wake
from insula.core.pace import Pace
from insula.core.queue import Queue
from insula.core.relay import POLL_SECONDS, Caps, Relay, repeat
from tests.core.workbench import A, B, C, D, E, F, Note, Workbench, leave_effect


@pytest.fixture
async def claimed_before(bench: Workbench) -> None:
    """The first claim ever of a queue makes the row that all later ones lock."""
    await bench.ask(Note())
    await bench.leases()
    await bench.clear()


@pytest.mark.parametrize(
    "error",
    [
        Unavailable(private="no connection: refused"),
        asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
        asyncpg.InternalClientError("got result for unknown protocol state"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_long_outage_is_told_in_one_line_a_minute(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.core.relay.FAILED_PAUSE", 0.0)
    stopping, steps = asyncio.Event(), 0

    async def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 9:
            stopping.set()
        if steps % 3:
            raise error
        return 0.0

    with capture_logs() as lines:
        await repeat(step, stopping)
    (line,) = lines
    assert line["event"] == "the relay cannot work"
    assert line["cause"] in {"no connection: refused", repr(error)}
    assert "exc_info" not in line


@pytest.mark.usefixtures("claimed_before")
async def test_relays_that_claim_at_once_never_share_a_job_nor_exceed_the_cap(bench: Workbench) -> None:
    for tenant in (A, B, C, D, E, F):
        await bench.flood(tenant, 20)
    relays = [bench.relay(in_flight=30, ahead=100) for _ in range(6)]
    async with bench.platform.transaction() as unfinished:
        await unfinished.driver.execute(
            "SELECT jobs FROM app.claim_jobs('default', array_fill(sha256('x'), ARRAY[10]), 60, 30, 10, $1, '{}', '{}')",
            UUID(int=0),
        )
        await relays[0].hand_out()
        assert await bench.queue.waiting("default") == 0, "another relay is counting"
        await unfinished.commit()
    for _ in range(5):
        await asyncio.gather(*(relay.hand_out() for relay in relays))
    leases = await bench.taken()
    assert len(leases) == len({lease.job_id for lease in leases}) == 20
    assert await bench.statuses() == {"leased": 30, "due": 90}


@pytest.mark.attack(15)
@pytest.mark.usefixtures("claimed_before")
async def test_no_lock_that_requests_can_take_stops_the_relay(bench: Workbench) -> None:
    """Nor an advisory one: doors take those for requests, under names that the request chooses."""
    await bench.flood(A, 1)
    async with bench.platform.transaction() as claiming:
        await claiming.driver.fetch(
            "SELECT * FROM app.claim_jobs('default', ARRAY[sha256('x')], 60, 30, 10, $1, '{}', '{}')", UUID(int=0)
        )
        held = await bench.superuser.fetch(
            "SELECT locktype, relation::regclass::text AS table FROM pg_locks WHERE pid = $1"
            " AND (locktype = 'advisory' OR locktype = 'relation' AND mode LIKE '%Exclusive%' AND relation::regclass::text"
            " NOT LIKE '%outbox%')",
            claiming.driver.get_server_pid(),
        )
        free = await bench.superuser.fetch("SELECT queue FROM app.claiming FOR UPDATE SKIP LOCKED")
    assert held == []
    assert "default" not in {row["queue"] for row in free}, "somebody is counting"
    for lie in (
        "LOCK TABLE app.claiming IN ACCESS SHARE MODE",
        "LOCK TABLE app.claiming IN ROW EXCLUSIVE MODE",
        "LOCK TABLE app.claiming IN ACCESS EXCLUSIVE MODE",
        "SELECT FROM app.claiming FOR KEY SHARE",
        "INSERT INTO app.claiming (queue) VALUES ('default')",
    ):
        async with bench.database.transaction() as hostile:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await hostile.driver.execute(lie)


async def test_few_jobs_wait_in_the_queue_however_many_are_due(bench: Workbench) -> None:
    await bench.flood(A, 100)
    relay = bench.relay(ahead=10)
    for _ in range(5):
        await relay.hand_out()
    assert await bench.queue.waiting("default") == 10
    assert (await bench.statuses())["leased"] == 10


async def test_while_redis_is_away_nothing_is_claimed(bench: Workbench) -> None:
    await bench.ask(Note())
    away = Redis.from_url("redis://127.0.0.1:1/0")
    relay = Relay(bench.platform, Queue(away), "default", Caps(in_flight=10, ahead=10, pace=Pace(60)), lease_seconds=60)
    with pytest.raises((RedisError, OSError)):
        await relay.hand_out()
    assert await bench.statuses() == {"due": 1}
    await away.aclose()


async def test_what_cannot_be_handed_over_goes_back_uncounted(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = await bench.ask(Note())

    async def refuse(*_: object) -> None:
        raise RedisError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(bench.queue, "dispatch", refuse)
        with pytest.raises(RedisError):
            await bench.relay().hand_out()
    row = await bench.row(job_id)
    assert (row["status"], row["failures"], row["crashes"], row["lease_hash"]) == ("due", 0, 0, None)
    assert await bench.work(bench.runner({Note: leave_effect})) == 1


async def test_a_flushed_redis_loses_no_job(bench: Workbench) -> None:
    jobs = await bench.ask(*(Note() for _ in range(5)), tenant=A)
    await bench.relay().hand_out()
    await bench.redis.flushdb()
    upkeep = bench.upkeep()
    await bench.superuser.execute("UPDATE app.outbox SET leased_until = leased_until - interval '4 s'")
    await upkeep.sweep()
    assert await bench.statuses() == {"leased": 5}, "they may still be on their way"
    await bench.superuser.execute("UPDATE app.outbox SET leased_until = leased_until - interval '2 s'")
    await upkeep.sweep()
    assert await bench.work(bench.runner({Note: leave_effect})) == 5
    assert {effect["job_id"] for effect in await bench.effects()} == set(jobs)
    assert {(await bench.row(job_id))["crashes"] for job_id in jobs} == {0}


async def test_jobs_that_wait_in_the_queue_are_not_taken_for_lost(bench: Workbench) -> None:
    await bench.ask(Note(), Note())
    await bench.relay().hand_out()
    await bench.superuser.execute("UPDATE app.outbox SET leased_until = leased_until - interval '30 s'")
    await bench.upkeep().sweep()
    assert await bench.statuses() == {"leased": 2}


async def test_messages_of_others_do_not_stop_a_worker(bench: Workbench) -> None:
    strange = [
        b"", b"nonsense", b"[]", b'"text"', b"null", b"\xff\xfe", b"{}",
        b'{"queue": "other", "function": "run"}',
        b'{"queue": "insula", "function": "run", "key": "x", "new_field": 1}',
    ]  # fmt: skip
    for message in strange:
        await bench.redis.rpush("saq:insula:queued", message)
    for _ in strange:
        assert await bench.queue.dequeue() is None
    await bench.ask(Note())
    assert await bench.work(bench.runner({Note: leave_effect})) == 1


async def test_the_bell_brings_the_relay_at_once(bench: Workbench) -> None:
    relay, stopping = bench.relay(), asyncio.Event()
    running = asyncio.create_task(relay.run(stopping))
    while not await bench.redis.pubsub_numsub("insula:jobs") >= [(b"insula:jobs", 1)]:
        await asyncio.sleep(0.01)
    waits = []
    for _ in range(5):
        await asyncio.sleep(POLL_SECONDS / 2)
        await bench.ask(Note(), tenant=A)
        rang = time.monotonic()
        await wake(bench.redis)
        while not await bench.queue.waiting("default"):
            await asyncio.sleep(0.002)
        waits.append(time.monotonic() - rang)
        await bench.taken()
    stopping.set()
    await running
    assert sorted(waits)[2] < POLL_SECONDS / 4
