"""The relay: whose turn it is, how much is under way, and what happens when Redis is not there."""

import asyncio
import time
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from insula.core.errors import Unavailable
from insula.core.jobs import wake
from insula.core.pace import BURST_SECONDS, Pace
from insula.core.queue import Queue
from insula.core.relay import BREATH_SECONDS, PACED_SECONDS, POLL_SECONDS, PROGRAM, Caps, Relay, repeat
from tests.core.workbench import Note, Workbench, leave_effect

A, B, C, D, E, F = (UUID(int=number) for number in range(1, 7))


async def lanes(bench: Workbench) -> list[UUID]:
    """Whose jobs wait in the queue, in its order."""
    rows = {}
    for lease in await bench.taken():
        rows[lease.job_id] = (await bench.row(lease.job_id))["lane"]
    return list(rows.values())


async def test_organizations_take_turns(bench: Workbench) -> None:
    await bench.flood(B, 50)
    for tenant in (A, C, D):
        await bench.ask(Note(), Note(), tenant=tenant)
    await bench.relay(ahead=8).hand_out()
    assert sorted(await lanes(bench)) == [A, A, B, B, C, C, D, D]


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


async def test_the_time_of_others_comes_while_one_s_flood_waits_for_its_own(bench: Workbench) -> None:
    await bench.flood(A, 5000)
    await bench.superuser.execute("UPDATE app.outbox SET status = 'waiting'")
    await bench.ask(Note(), tenant=B, delay=60)
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, task, payload, due_at)"
        " VALUES (gen_random_uuid(), $1, '{}', now() + interval '1 minute')",
        Note.NAME,
    )
    await bench.superuser.execute("UPDATE app.outbox SET due_at = now() WHERE lane <> $1", A)
    await bench.relay(ahead=8).hand_out()
    others = await bench.superuser.fetch("SELECT lane, status FROM app.outbox WHERE lane <> $1 ORDER BY lane", A)
    assert [tuple(row) for row in others] == [(B, "leased"), (PROGRAM, "leased")]
    assert (await bench.statuses())["waiting"] > 3000, "what one claim does is bounded"


async def test_the_circle_goes_on_where_it_stopped(bench: Workbench) -> None:
    for tenant in (A, B, C, D, E):
        await bench.flood(tenant, 4)
    relay, seen = bench.relay(ahead=2), []
    for _ in range(5):
        await relay.hand_out()
        seen.append(await lanes(bench))
        while not seen[-1]:
            await relay.hand_out()
            seen[-1] = await lanes(bench)
    assert {tenant for turn in seen for tenant in turn} == {A, B, C, D, E}
    assert seen[0] == [A, B] and seen[1] == [C, D]


async def test_what_belongs_to_no_organization_shares_one_turn(bench: Workbench) -> None:
    """Letters of sign-up, and the program's own: no crowd of strangers makes the circle longer."""
    await bench.flood(A, 50)
    for _ in range(4):
        await bench.superuser.execute(
            "INSERT INTO app.outbox (id, tenant_id, user_id, task, payload)"
            " VALUES (gen_random_uuid(), NULL, gen_random_uuid(), $1, '{}')",
            Note.NAME,
        )
    await bench.relay(ahead=4).hand_out()
    assert sorted(await lanes(bench)) == [A, A, PROGRAM, PROGRAM]


async def test_what_a_person_asks_for_outside_of_organizations_keeps_no_letter_waiting(bench: Workbench) -> None:
    await bench.ask(*(Note() for _ in range(50)), tenant=None, user=B)
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, tenant_id, task, payload) VALUES (gen_random_uuid(), NULL, $1, '{}')", Note.NAME
    )
    await bench.relay(ahead=4).hand_out()
    assert sorted(await lanes(bench)) == [B, B, B, PROGRAM]


async def test_no_sql_of_a_request_asks_to_be_first(bench: Workbench) -> None:
    lie = "INSERT INTO app.outbox (id, tenant_id, user_id, lane, task, payload, due_at) VALUES"
    for lane, due in ((A, "now() - interval '1 second'"), (B, "now()"), (PROGRAM, "now()")):
        async with bench.anybody.transaction() as db:
            await db.driver.execute("SELECT app.set_context($1, NULL)", A)
            await db.driver.execute("SET LOCAL ROLE app_rw")
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await db.driver.execute(f"{lie} (gen_random_uuid(), $1, NULL, $2, 'x', '{{}}', {due})", A, lane)


async def test_one_organization_holds_a_quarter_of_what_is_in_flight_and_hides_nobody(bench: Workbench) -> None:
    for tenant in (A, B, C, D, E):
        await bench.flood(tenant, 30)
    relay = bench.relay(in_flight=16, ahead=100)
    taken: list[UUID] = []
    for _ in range(4):
        await relay.hand_out()
        taken += await lanes(bench)
    assert len(taken) == 16, "the cap on all of them"
    assert max(taken.count(tenant) for tenant in set(taken)) == 4, "the cap on one of them"

    # Four stand at their cap; one place is free, and the fifth must get it.
    await bench.clear()
    for tenant in (A, B, C, D, E):
        await bench.flood(tenant, 30)
    await bench.superuser.execute(
        "UPDATE app.outbox SET status = 'leased', lease_hash = sha256('x'), leased_until = now() + interval '1 minute'"
        " WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY lane) AS n FROM app.outbox"
        " WHERE lane < $1) AS first WHERE n <= 4)",
        E,
    )
    relay = bench.relay(in_flight=17, ahead=100)
    await relay.hand_out()
    assert await lanes(bench) == [E]


async def test_a_flood_is_handed_out_at_its_pace_and_everybody_else_at_once(bench: Workbench) -> None:
    await bench.flood(A, 100)
    await bench.flood(B, 3)
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, task, payload) SELECT gen_random_uuid(), $1, '{}' FROM generate_series(1, 20)",
        Note.NAME,
    )
    relay, first, began = bench.relay(ahead=6, per_minute=150), [], time.monotonic()
    for _ in range(20):
        await relay.hand_out()
        first += await lanes(bench)
    burst, since = int(2.5 * BURST_SECONDS), time.monotonic() - began
    assert burst <= first.count(A) <= burst + 1 + 2.5 * since
    assert (first.count(B), first.count(PROGRAM)) == (3, 20)

    began, later = time.monotonic(), []
    while len(later) < 3:
        pause = await relay.hand_out()
        assert PACED_SECONDS <= pause <= POLL_SECONDS, "one at a time, without a look in vain after each"
        later += await lanes(bench)
        await asyncio.sleep(pause)
    assert later == [A, A, A]
    assert time.monotonic() - began > 0.5, "one after 0.4 seconds each"


async def test_others_who_ask_for_much_do_not_wait_for_the_pace_of_one(bench: Workbench) -> None:
    await bench.flood(A, 20)
    relay = bench.relay(ahead=6, per_minute=60)
    await relay.hand_out()
    await lanes(bench)
    await bench.flood(B, 4)
    await bench.flood(C, 4)
    pauses = []
    for _ in range(2):
        pauses.append(await relay.hand_out())
        await lanes(bench)
    assert pauses[0] == BREATH_SECONDS, "all that there was room for: there may be more"
    assert pauses[1] >= PACED_SECONDS


@pytest.mark.parametrize("in_flight", [8, 200])
async def test_others_do_not_wait_for_the_pace_of_one_where_their_share_is_small(
    bench: Workbench, in_flight: int
) -> None:
    await bench.flood(A, 500)
    relay = bench.relay(in_flight=in_flight, ahead=10, per_minute=600)
    for _ in range(40):
        await relay.hand_out()
        await finish(bench)
    await bench.flood(B, 30)
    while await bench.superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status = 'due' AND lane = $1", B):
        assert await relay.hand_out() == BREATH_SECONDS
        await finish(bench)
    assert await relay.hand_out() >= PACED_SECONDS


async def finish(bench: Workbench) -> None:
    """What was handed out is done at once."""
    await bench.taken()
    await bench.superuser.execute("UPDATE app.outbox SET status = 'done', finished_at = now() WHERE status = 'leased'")


@given(
    per_minute=st.integers(1, 100_000),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=40),
)
def test_no_lane_is_given_more_than_its_burst_and_its_rate(per_minute: int, steps: list[tuple[float, int]]) -> None:
    now, given_out = 1000.0, 0
    pace = Pace(per_minute, lambda: now)
    for pause, wanted in steps:
        now += pause
        left = pace.left().get(A, wanted)
        taken = min(left, wanted)
        pace.spend([A] * taken)
        given_out += taken
        allowed = per_minute / 60 * (now - 1000.0 + BURST_SECONDS)
        assert given_out <= allowed + 50, "the whole of one look may be too much"
        wait = pace.wait()
        if wait is not None:
            assert pace.left()[A] == 0
            assert pace.must_wait(A)
            assert wait < (50 * 60 / per_minute) + 60 / per_minute
            now += wait + 1e-6
            assert pace.left().get(A, 1) >= 1
            assert not pace.must_wait(A)


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


@pytest.mark.attack(130)
async def test_a_flood_of_one_organization_delays_another_by_less_than_two_seconds(
    bench: Workbench, pytestconfig: pytest.Config
) -> None:
    await bench.flood(A, pytestconfig.getoption("--flood-jobs", 30_000))
    relay, runner = bench.relay(), bench.runner({Note: leave_effect})
    for _ in range(5):
        for lease in await bench.leases(relay):
            await runner.run(lease)
    (job_id,) = await bench.ask(Note(text="at last"), tenant=B)
    began = time.monotonic()
    while (await bench.row(job_id))["status"] != "done":
        for lease in await bench.leases(relay):
            await runner.run(lease)
    assert time.monotonic() - began < 2


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
