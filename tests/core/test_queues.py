"""Queues of jobs: each has its workers, its room and its list, and none hears of what happens to another."""

import asyncio
import itertools
import re
from io import StringIO
from uuid import UUID

import asyncpg
import pytest
from rich.console import Console
from structlog.testing import capture_logs

from insula.core import gauges, metrics
from insula.core.jobs import Schedule
from insula.core.lately import Lately
from insula.core.pace import Pace
from insula.core.queue import Queue
from insula.core.schemas import Task
from insula.doctor import examine
from insula.features.invitations.schemas import SendInvitation
from insula.product import FEATURES
from tests.architecture.sources import ROOT
from tests.core.test_costs import touched
from tests.core.test_worker import settings_on
from tests.core.workbench import Note, Parcel, Workbench, leave_effect

A, B = UUID(int=1), UUID(int=2)
BOTH = {Note: leave_effect, Parcel: leave_effect}


def told(gauge: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(gauge, labels)


def bulk(bench: Workbench) -> Queue:
    return Queue(bench.redis, ["bulk"])


async def queues_by_status(bench: Workbench) -> dict[str, set[str]]:
    rows = await bench.superuser.fetch(
        "SELECT status, array_agg(DISTINCT queue) AS queues FROM app.outbox GROUP BY status"
    )
    return {row["status"]: set(row["queues"]) for row in rows}


async def test_a_task_waits_in_the_queue_that_it_names_however_it_is_asked_for(bench: Workbench) -> None:
    (alone,) = await bench.ask(Parcel())
    one, other = await bench.ask(Note(), Parcel())
    assert [(await bench.row(job))["queue"] for job in (alone, one, other)] == ["bulk", "default", "bulk"]
    await bench.clear()
    upkeep = bench.upkeep(Schedule("parcels", "* * * * *", Parcel()))
    await bench.superuser.execute("INSERT INTO app.tick (schedule, at) VALUES ('parcels', now() - interval '1 day')")
    await upkeep.tick()
    assert await bench.superuser.fetchval("SELECT queue FROM app.outbox") == "bulk"


async def test_what_a_release_that_knew_no_queues_asked_for_is_in_the_default_one(bench: Workbench) -> None:
    old = "INSERT INTO app.outbox (id, task, payload) VALUES (gen_random_uuid(), $1, '{}')"
    await bench.superuser.execute(old, Note.NAME)
    assert await bench.work(bench.runner(BOTH)) == 1


async def test_a_relay_hands_out_the_jobs_of_its_queues_and_no_others(bench: Workbench) -> None:
    await bench.ask(Note(), Parcel())
    await bench.relay().hand_out()
    assert await queues_by_status(bench) == {"leased": {"default"}, "due": {"bulk"}}
    other = bulk(bench)
    await bench.relay(other).hand_out()
    assert (await bench.queue.waiting("default"), await other.waiting("bulk")) == (1, 1)


async def test_a_worker_of_two_queues_takes_from_them_in_turns(bench: Workbench) -> None:
    await bench.flood(A, 20)
    await bench.flood(A, 3, Parcel)
    queue = Queue(bench.redis, ["default", "bulk"])
    await bench.relay().hand_out()
    await bench.relay(bulk(bench)).hand_out()
    taken = []
    for _ in range(6):
        job = await queue.dequeue()
        assert job is not None and job.kwargs is not None
        taken.append((await bench.row(job.kwargs["job_id"]))["queue"])
    assert taken.count("bulk") == 3
    assert [one != other for one, other in itertools.pairwise(taken)] == [True] * 5


async def test_each_queue_has_its_own_room_for_all_and_for_one_organization(bench: Workbench) -> None:
    for tenant in (A, B, UUID(int=3), UUID(int=4)):
        await bench.flood(tenant, 50, Parcel)
    full = bench.relay(bulk(bench), in_flight=8, ahead=100)
    for _ in range(4):
        await full.hand_out()
    assert (await bench.statuses())["leased"] == 8, "four organizations with a quarter of the room each"
    await bench.flood(A, 3)
    await bench.relay(in_flight=8, ahead=100).hand_out()
    leased = await bench.superuser.fetch(
        "SELECT queue, count(*) FROM app.outbox WHERE status = 'leased' AND lane = $1 GROUP BY queue", A
    )
    assert dict(leased) == {"bulk": 2, "default": 2}


async def test_relays_of_two_queues_do_not_wait_for_each_other(bench: Workbench) -> None:
    await bench.ask(Note(), Parcel())
    async with bench.platform.transaction() as unfinished:
        await unfinished.driver.execute(
            "SELECT jobs FROM app.claim_jobs('default', ARRAY[sha256('x')], 60, 30, 10, $1, '{}', '{}')", UUID(int=0)
        )
        await bench.relay(bulk(bench)).hand_out()
        assert await queues_by_status(bench) == {"leased": {"bulk"}, "due": {"default"}}


@pytest.mark.parametrize("claimed", ["default", "empty"])
async def test_a_flood_in_one_queue_is_not_read_for_the_sake_of_another(bench: Workbench, claimed: str) -> None:
    await bench.flood(A, 20_000, Parcel)
    await bench.flood(B, 5)
    await bench.superuser.execute("ANALYZE app.outbox")
    async with bench.superuser.transaction():
        await bench.superuser.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        found, _ = await touched(bench.superuser, "outbox")
        taken = await bench.superuser.fetchval(
            "SELECT cardinality(jobs) FROM app.claim_jobs($1, array_fill(sha256('x'), ARRAY[10]), 60, 30, 10, $2, '{}', '{}')",
            claimed,
            UUID(int=0),
        )
        await bench.superuser.fetchval("SELECT app.longest_wait($1, '{}')", claimed)
        await bench.superuser.fetchval("SELECT app.other_queues('{default}')")
        found_now, _ = await touched(bench.superuser, "outbox")
    assert taken == (5 if claimed == "default" else None)
    assert found_now - found < 60


async def test_ten_thousand_organizations_beyond_their_pace_cost_no_second(bench: Workbench) -> None:
    await bench.superuser.execute("SET session_replication_role = replica")
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, lane, task, payload) SELECT gen_random_uuid(), md5(i::text)::uuid, $1, '{}'"
        " FROM generate_series(1, 10000) AS i",
        Note.NAME,
    )
    await bench.superuser.execute("RESET session_replication_role")
    async with asyncio.timeout(1.5):  # each looked for among all of them, it takes four seconds
        taken = await bench.superuser.fetchval(
            "SELECT jobs FROM app.claim_jobs('default', ARRAY[sha256('x')], 60, 30, 10, $1,"
            " (SELECT array_agg(lane) FROM app.outbox), array_fill(0, ARRAY[10000]))",
            UUID(int=0),
        )
    assert taken is None


async def test_only_what_a_worker_serves_does_it_take_for_lost_with_the_list(bench: Workbench) -> None:
    """Other queues' leases wait in another list, in another Redis perhaps: that one's own is empty says nothing."""
    await bench.ask(Note(), Parcel())
    other = bulk(bench)
    await bench.relay(other).hand_out()
    await bench.leases()
    await bench.superuser.execute("UPDATE app.outbox SET leased_until = leased_until - interval '30 s'")
    await bench.upkeep().sweep()
    assert await queues_by_status(bench) == {"leased": {"bulk"}, "due": {"default"}}
    await bench.upkeep(queue=other).sweep()
    assert await queues_by_status(bench) == {"leased": {"bulk"}, "due": {"default"}}, "it waits in the list"
    await bench.redis.flushdb()
    await bench.upkeep(queue=other).sweep()
    assert await queues_by_status(bench) == {"due": {"bulk", "default"}}


async def test_whoever_keeps_house_takes_back_what_ran_out_in_any_queue(bench: Workbench) -> None:
    await bench.ask(Parcel())
    await bench.relay(bulk(bench)).hand_out()
    await bench.hurry()
    await bench.upkeep().sweep()
    assert await queues_by_status(bench) == {"due": {"bulk"}}


async def test_a_queue_that_nobody_serves_is_seen(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "LATELY", Lately())
    strange = (
        "INSERT INTO app.outbox (id, queue, task, payload, due_at)"
        " SELECT gen_random_uuid(), queue, 'x', '{}', now() - age FROM (VALUES ('old_1', interval '1 hour'),"
        " ('old_2', interval '2 hours'), ('bulk', interval '3 hours'), ('old_1', interval '-1 hour')) AS v (queue, age)"
    )
    await bench.superuser.execute(strange)
    await bench.hurry()
    assert await bench.work(bench.runner(BOTH)) == 0
    with capture_logs() as lines:
        for _ in range(2):
            await bench.gauges(None, "bulk").take()
    assert told("outbox_depth", queue="unknown") == 3, "and that of later has come due"
    assert told("outbox_depth", queue="bulk") == 1
    assert told("outbox_depth", queue="default") == 0
    assert 7190 < (told("outbox_oldest_seconds", queue="unknown", served="no") or 0) < 7260
    assert 10_790 < (told("outbox_oldest_seconds", queue="bulk", served="no") or 0) < 10_860
    assert told("outbox_oldest_seconds", queue="default", served="yes") == 0
    (line,) = lines
    assert line["queues"] == ["old_1", "old_2"]


async def test_a_pace_of_ones_own_hides_nothing_in_a_queue_that_others_serve(bench: Workbench) -> None:
    await bench.flood(A, 20)
    await bench.flood(A, 20, Parcel)
    pace = Pace(60)
    pace.spend([A] * 10)
    await bench.gauges(pace, "bulk").take()
    assert told("outbox_oldest_seconds", queue="default", served="yes") == 0
    assert (told("outbox_oldest_seconds", queue="bulk", served="no") or 0) >= 60


async def test_doctor_tells_the_queues_there_are_and_those_of_which_no_task_is(bench: Workbench) -> None:
    async def examined(**settings: str) -> str:
        said = StringIO()
        await examine(
            settings_on(bench, identity_database_url=bench.urls["app_rw"], **settings), Console(file=said, width=200)
        )
        return said.getvalue()

    assert "well   the queues of jobs: default, bulk\n" in await examined(worker_queues="bulk")
    strange = await examined(worker_queues="bulk, blk")
    assert (
        "wrong  queues of a worker: INSULA_WORKER_QUEUES: 'blk': no task names it; default, bulk are there" in strange
    )
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, queue, task, payload) VALUES (gen_random_uuid(), 'elsewhere', 'x', '{}')"
    )
    assert "wrong  the queues of jobs: default, bulk: jobs are due in elsewhere" in await examined()


@pytest.mark.parametrize("name", ["", "Bulk", "a b", "1st", "a" * 32, "bulk\n", "bülk"])
async def test_no_queue_has_a_name_that_is_no_word(bench: Workbench, name: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="outbox_queue"):
        await bench.superuser.execute(
            "INSERT INTO app.outbox (id, queue, task, payload) VALUES (gen_random_uuid(), $1, 'x', '{}')", name
        )


def test_doors_ask_for_tasks_of_the_default_queue_only() -> None:
    """What SQL inserts names no queue."""
    asked = {
        name
        for path in (ROOT / "migrations" / "sql").glob("*.sql")
        for name in re.findall(r"'(\w+\.\w+)'", path.read_text())
    }
    tasks: list[type[Task]] = [task for feature in FEATURES for task in feature.handlers]
    by_doors = [task for task in tasks if task.NAME in asked]
    assert len(by_doors) >= 4
    assert {task.QUEUE for task in by_doors} == {"default"}
    assert SendInvitation.QUEUE == "bulk"
