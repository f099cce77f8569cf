"""What comes round: lost workers, schedules that tick once, housekeeping that leaves the young alone."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from insula.core import metrics
from insula.core.clock import now
from insula.core.db import Transaction
from insula.core.jobs import JobContext, Schedule, latest_tick
from insula.core.pace import Pace
from insula.core.queue import Queue
from insula.core.upkeep import CHORES, CRASH_LIMIT, Chore, Upkeep
from tests.core.workbench import Note, Workbench, leave_effect

A = UUID(int=1)
HOURLY = Schedule("remind", timedelta(hours=1), Note(text="hourly"))


async def start(bench: Workbench) -> None:
    """As far as a worker comes that is killed in its handler."""
    for lease in await bench.leases():
        async with bench.database.transaction() as db:
            assert await db.driver.fetchval("SELECT verdict FROM app.start_job($1, $2, 60)", *lease.proof) == "admitted"
            await db.commit()


async def test_a_lost_worker_counts_as_a_crash_and_the_job_comes_again(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note(), tenant=A)
    await start(bench)
    await bench.upkeep().sweep()
    assert (await bench.row(job_id))["status"] == "leased", "its lease lives"
    await bench.hurry()
    await bench.upkeep().sweep()
    row = await bench.row(job_id)
    assert (row["status"], row["crashes"], row["failures"]) == ("waiting", 1, 0)
    await bench.hurry()
    assert await bench.work(bench.runner({Note: leave_effect})) == 1
    assert (await bench.row(job_id))["status"] == "done"


async def test_a_lease_that_ran_out_before_the_start_counts_nothing(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note())
    await bench.leases()
    await bench.hurry()
    away = Redis.from_url("redis://127.0.0.1:1/0")
    await Upkeep(bench.platform, Queue(away), (), bench.gauges(), lease_seconds=60).sweep()
    await away.aclose()
    row = await bench.row(job_id)
    assert (row["status"], row["crashes"], row["failures"]) == ("due", 0, 0)


async def test_a_job_that_keeps_killing_its_workers_ends_as_a_dead_letter(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note())
    for _ in range(CRASH_LIMIT):
        assert (await bench.row(job_id))["status"] != "dead"
        await start(bench)
        await bench.hurry()
        await bench.upkeep().sweep()
        await bench.hurry()
    row = await bench.row(job_id)
    assert (row["status"], row["crashes"], row["failures"]) == ("dead", CRASH_LIMIT, 0)


async def tick_is_known(bench: Workbench, hours_ago: int) -> None:
    at = latest_tick(HOURLY.every, now()) - timedelta(hours=hours_ago)
    await bench.superuser.execute("INSERT INTO app.tick (schedule, at) VALUES ($1, $2)", HOURLY.name, at)


async def test_a_new_schedule_waits_for_its_next_tick(bench: Workbench) -> None:
    await bench.upkeep(HOURLY).tick()
    assert await bench.statuses() == {}
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.tick WHERE schedule = 'remind'") == 1


async def test_a_tick_comes_once_however_many_relays_run(bench: Workbench) -> None:
    await tick_is_known(bench, hours_ago=1)
    several = [bench.upkeep(HOURLY) for _ in range(4)]
    await asyncio.gather(*(upkeep.tick() for upkeep in several))
    await asyncio.gather(*(upkeep.tick() for upkeep in several))
    assert await bench.statuses() == {"due": 1}


async def test_a_relay_that_comes_second_to_a_tick_waits_and_does_nothing(bench: Workbench) -> None:
    await tick_is_known(bench, hours_ago=1)
    async with bench.platform.transaction() as first:
        await first.driver.execute(
            "INSERT INTO app.tick (schedule, at) VALUES ($1, $2)", HOURLY.name, latest_tick(HOURLY.every, now())
        )
        second = asyncio.create_task(bench.upkeep(HOURLY).tick())
        await asyncio.sleep(0.2)
        assert not second.done()
        await first.commit()
    await second
    assert await bench.statuses() == {}


async def test_who_is_long_at_a_tick_is_not_waited_for_nor_taken_for_done(bench: Workbench) -> None:
    await tick_is_known(bench, hours_ago=1)
    upkeep = bench.upkeep(HOURLY)
    async with bench.platform.transaction() as first:
        await first.driver.execute(
            "INSERT INTO app.tick (schedule, at) VALUES ($1, $2)", HOURLY.name, latest_tick(HOURLY.every, now())
        )
        with capture_logs() as lines:
            async with asyncio.timeout(3):
                await upkeep.tick()
        assert lines == []
    await upkeep.tick()
    assert await bench.statuses() == {"due": 1}


async def test_only_the_latest_of_the_missed_ticks_is_made_up_for(bench: Workbench) -> None:
    await tick_is_known(bench, hours_ago=50)
    await bench.upkeep(HOURLY).tick()
    assert await bench.statuses() == {"due": 1}


async def test_a_clock_that_went_back_repeats_no_tick(bench: Workbench) -> None:
    await tick_is_known(bench, hours_ago=-2)
    await bench.upkeep(HOURLY).tick()
    assert await bench.statuses() == {}


async def test_a_scheduled_task_belongs_to_no_organization(bench: Workbench) -> None:
    seen: list[str | None] = []

    async def look(db: Transaction, task: Note, context: JobContext) -> None:
        assert db.principal is not None
        seen.extend([task.text, db.principal.organization_id, db.principal.user_id])
        assert await db.driver.fetchval("SELECT app.tenant_id()") is None

    await tick_is_known(bench, hours_ago=1)
    await bench.upkeep(HOURLY).tick()
    await bench.work(bench.runner({Note: look}))
    assert seen == ["hourly", None, None]
    assert await bench.statuses() == {"done": 1}


async def test_two_schedules_cannot_share_a_name(bench: Workbench) -> None:
    with pytest.raises(ValueError, match="share a name"):
        bench.upkeep(HOURLY, HOURLY)
    with pytest.raises(ValueError, match="share a name"):
        bench.upkeep(Schedule(CHORES[0].name, timedelta(hours=1), Note()))


OLD_AND_YOUNG = """
INSERT INTO app.outbox (id, task, payload, status, finished_at) VALUES
    ('00000000-0000-0000-0000-00000000000a', 'x', '{}', 'done', now() - interval '4 days'),
    ('00000000-0000-0000-0000-00000000000b', 'x', '{}', 'discarded', now() - interval '4 days'),
    ('00000000-0000-0000-0000-00000000000c', 'x', '{}', 'done', now() - interval '2 days'),
    ('00000000-0000-0000-0000-00000000000d', 'x', '{}', 'dead', now() - interval '4 years');
INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer, created_at) VALUES
    (gen_random_uuid(), sha256('old'), '', '', now() - interval '25 hours'),
    (gen_random_uuid(), sha256('young'), '', '', now() - interval '23 hours');
INSERT INTO app.credential (id, kind, hash, expires_at, revoked_at) VALUES
    (gen_random_uuid(), 'reset', sha256('expired'), now() - interval '31 days', NULL),
    (gen_random_uuid(), 'reset', sha256('revoked'), now() + interval '1 day', now() - interval '31 days'),
    (gen_random_uuid(), 'reset', sha256('both'), now() - interval '31 days', now() - interval '31 days'),
    (gen_random_uuid(), 'reset', sha256('young'), now() - interval '1 day', NULL),
    (gen_random_uuid(), 'reset', sha256('live'), now() + interval '1 day', NULL);
INSERT INTO app.tick (schedule, at) VALUES
    ('yearly', now() - interval '300 days'),
    ('daily', now() - interval '8 days'), ('daily', now() - interval '6 days');
"""


async def test_housekeeping_removes_the_old_and_leaves_the_young_and_the_dead(bench: Workbench) -> None:
    await bench.superuser.execute("TRUNCATE app.idempotency, app.credential")
    await bench.superuser.execute(OLD_AND_YOUNG)
    newest = await bench.superuser.fetchval("SELECT max(relname) FROM pg_class WHERE relname ~ '^event_[0-9_]+$'")
    await bench.superuser.execute(f"DROP TABLE app.{newest}")
    await bench.upkeep().tick()

    async def left(query: str) -> set[str]:
        return {row[0] for row in await bench.superuser.fetch(query)}

    assert await left("SELECT right(id::text, 1) FROM app.outbox") == {"c", "d"}
    assert await bench.superuser.fetchval("SELECT key_hash FROM app.idempotency") == await bench.superuser.fetchval(
        "SELECT sha256('young')"
    )
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.credential") == 2
    ticks = await left("SELECT schedule || extract(day FROM now() - at) FROM app.tick WHERE schedule LIKE '%ly'")
    assert ticks == {"yearly300", "daily6"}
    assert await bench.superuser.fetchval("SELECT to_regclass('app.' || $1) IS NOT NULL", newest)


async def test_what_fails_keeps_nothing_else_and_is_not_tried_at_every_look(bench: Workbench) -> None:
    fails = Chore("fails", timedelta(hours=1), "SELECT 1 / 0")
    upkeep = bench.upkeep(fails, HOURLY)
    with capture_logs() as lines:
        for _ in range(3):
            await upkeep.tick()
    assert [line["step"] for line in lines] == ["fails"]
    assert set(await bench.superuser.fetchval("SELECT array_agg(schedule) FROM app.tick")) >= {
        "remind",
        CHORES[-1].name,
    }
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.tick WHERE schedule = 'fails'") == 0


def undone(chore: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("chores_undone_total", {"chore": chore})


async def test_what_was_left_undone_is_told_and_counted_like_what_failed(bench: Workbench) -> None:
    left = Chore("left", timedelta(hours=1), "SELECT 5 AS purged, 2 AS stayed")
    broken = Chore("broken", timedelta(hours=1), "SELECT 1 / 0")
    upkeep = bench.upkeep(left, broken)
    before = {name: undone(name) for name in ("left", "broken", "purge_ticks")}
    assert set(before.values()) == {0.0}, "a series that begins with its first failure does not increase by it"
    with capture_logs() as lines:
        await upkeep.tick()
    assert [(line["log_level"], line["step"], line.get("count")) for line in lines] == [
        ("error", "left", 2),
        ("error", "broken", None),
    ]
    assert [undone(name) for name in before] == [1, 1, 0]
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.tick WHERE schedule = 'left'") == 1


async def test_what_is_overdue_is_ended_also_while_all_else_fails(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Upkeep) -> None:
        raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")

    monkeypatch.setattr(Upkeep, "sweep", fail)
    monkeypatch.setattr("insula.core.upkeep._END_OVERDUE", "SELECT 1 + 0 * $1::integer")
    stopping = asyncio.Event()
    with capture_logs() as lines:
        running = asyncio.create_task(bench.upkeep().run(stopping))
        async with asyncio.timeout(10):
            while not any("were ended" in line["event"] for line in lines):
                await asyncio.sleep(0.01)
        stopping.set()
        await running


def oldest(queue: str = "default", served: str = "yes") -> float:
    """What the gauge tells, or minus one where it tells nothing."""
    told = metrics.REGISTRY.get_sample_value("outbox_oldest_seconds", {"queue": queue, "served": served})
    return -1.0 if told is None else told


async def test_the_gauges_tell_depth_age_and_dead_letters(bench: Workbench) -> None:
    await bench.flood(A, 7)
    await bench.ask(Note(), delay=60)
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, task, payload, status) VALUES (gen_random_uuid(), 'x', '{}', 'dead')"
    )
    await bench.upkeep().look()
    assert metrics.REGISTRY.get_sample_value("outbox_depth", {"queue": "default"}) == 7
    assert 60 <= oldest() < 120
    assert metrics.REGISTRY.get_sample_value("dead_letters") == 1
    assert metrics.REGISTRY.get_sample_value("outbox_paced") == 0


async def test_a_flood_that_waits_for_its_pace_hides_nobody_who_waits_in_vain(bench: Workbench) -> None:
    await bench.flood(A, 20)
    await bench.ask(Note(), tenant=UUID(int=2))
    pace = Pace(60)
    pace.spend([A] * 10)
    await bench.upkeep(pace=pace).look()
    assert metrics.REGISTRY.get_sample_value("outbox_paced") == 1
    assert oldest() < 30, "the flood began a minute ago"
    await bench.superuser.execute("DELETE FROM app.outbox WHERE lane <> $1", A)
    await bench.upkeep(pace=pace).look()
    assert oldest() == 0
