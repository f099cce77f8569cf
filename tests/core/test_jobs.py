"""Jobs, from the transaction that asks for them to the commit that ends them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from insula.core.db import Transaction
from insula.core.errors import Unavailable
from insula.core.events import Event, record
from insula.core.ids import to_text
from insula.core.jobs import GiveUp, JobContext, enqueue, latest_tick
from insula.core.permissions import Facts, Principal
from insula.core.runner import LONGEST_PAUSE, UNKNOWN_LIMIT, backoff, describe
from tests.core.workbench import ACME, Foreign, Fragile, Note, Workbench, leave_effect

ADA = uuid4()


class NoteLeft(Event, frozen=True):
    TYPE = "note.left"
    TARGET = "note"


async def break_down(db: Transaction, task: Any, context: JobContext) -> None:
    await leave_effect(db, task, context)
    raise ValueError("no such luck\nDETAIL: a row of somebody")


async def give_up(db: Transaction, task: Any, context: JobContext) -> None:
    raise GiveUp("hopeless")


async def test_a_job_asked_for_in_a_transaction_that_rolls_back_never_was(bench: Workbench) -> None:
    async with bench.database.transaction() as db:
        enqueue(db, Note())
        await db.rollback()
    assert await bench.statuses() == {}


async def test_a_job_runs_as_the_tenant_and_the_user_who_asked_for_it(bench: Workbench) -> None:
    seen: list[tuple[Principal | None, Facts]] = []

    async def look(db: Transaction, task: Note, context: JobContext) -> None:
        seen.append((db.principal, db.facts))
        record(db, NoteLeft(target_id="n1"))
        await leave_effect(db, task, context)

    async with bench.anybody.transaction() as db:
        await db.driver.execute("SELECT app.set_context($1, $2)", ACME, ADA)
        db.facts = Facts(trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
        job_id = enqueue(db, Note(text="hello"))
        await db.commit()
    assert await bench.work(bench.runner({Note: look})) == 1

    (effect,) = await bench.effects()
    assert (effect["tenant_id"], effect["user_id"], effect["job_id"], effect["note"]) == (
        ACME,
        str(ADA),
        job_id,
        "hello",
    )
    principal = Principal(to_text("usr", ADA), job_id, "job", to_text("org", ACME))
    assert seen == [(principal, Facts(trace_id="4bf92f3577b34da6a3ce929d0e0e4736"))]
    event = await bench.superuser.fetchrow("SELECT * FROM app.event WHERE credential_id = $1", job_id)
    assert event is not None and (event["tenant_id"], event["actor_type"]) == (ACME, "job")
    assert (await bench.row(job_id))["status"] == "done"


async def test_a_job_may_ask_for_further_jobs(bench: Workbench) -> None:
    async def ask(db: Transaction, task: Note, context: JobContext) -> None:
        if task.text:
            enqueue(db, Note(text=task.text[1:]))

    await bench.ask(Note(text="abc"))
    assert await bench.work(bench.runner({Note: ask})) == 4
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.outbox WHERE tenant_id = $1", ACME) == 4


async def test_a_delayed_job_waits_for_its_time(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note(), delay=0.3)
    runner = bench.runner({Note: leave_effect})
    assert await bench.work(runner) == 0
    assert (await bench.row(job_id))["status"] == "waiting"
    await asyncio.sleep(0.35)
    assert await bench.work(runner) == 1


async def test_a_failed_handler_leaves_nothing_behind_and_is_tried_again_later(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note())
    assert await bench.work(bench.runner({Note: break_down})) == 1
    row = await bench.row(job_id)
    assert await bench.effects() == []
    assert (row["status"], row["failures"], row["crashes"], row["lease_hash"]) == ("waiting", 1, 0, None)
    assert row["last_error"].startswith("ValueError: no such luck (")
    assert "somebody" not in row["last_error"]

    await bench.hurry()
    assert await bench.work(bench.runner({Note: leave_effect})) == 1
    assert len(await bench.effects()) == 1


async def test_at_its_limit_of_failures_a_job_becomes_a_dead_letter(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Fragile())
    runner = bench.runner({Fragile: break_down})
    for _ in range(5):
        await bench.work(runner)
        await bench.hurry()
    row = await bench.row(job_id)
    assert (row["status"], row["failures"], row["attempt"]) == (
        "dead",
        Fragile.MAX_FAILURES,
        Fragile.MAX_FAILURES,
    )


async def test_a_handler_that_gives_up_makes_a_dead_letter_at_once(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note())
    await bench.work(bench.runner({Note: give_up}))
    row = await bench.row(job_id)
    assert (row["status"], row["failures"]) == ("dead", 1)


async def test_a_handler_out_of_time_is_a_failure_and_no_crash(bench: Workbench) -> None:
    async def dawdle(db: Transaction, task: Note, context: JobContext) -> None:
        await leave_effect(db, task, context)
        await asyncio.sleep(10)

    (job_id,) = await bench.ask(Note())
    (lease,) = await bench.leases()
    await bench.runner({Note: dawdle}, lease_seconds=0.3).run(lease)
    row = await bench.row(job_id)
    assert (row["failures"], row["crashes"]) == (1, 0)
    assert row["last_error"].startswith("TimeoutError")
    assert await bench.effects() == []


async def test_a_payload_of_another_release_counts_as_a_failure(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note())
    await bench.superuser.execute("""UPDATE app.outbox SET payload = '{"colour": "red"}'""")
    await bench.work(bench.runner({Note: leave_effect}))
    assert (await bench.row(job_id))["failures"] == 1


async def test_an_unknown_kind_of_task_goes_back_without_being_counted(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Foreign())
    assert await bench.work(bench.runner({Note: leave_effect})) == 1
    row = await bench.row(job_id)
    assert (row["status"], row["failures"], row["crashes"], row["lease_hash"]) == ("waiting", 0, 0, None)
    await bench.hurry()
    assert await bench.work(bench.runner({Foreign: leave_effect})) == 1
    assert (await bench.row(job_id))["status"] == "done"


async def test_a_task_that_no_release_knows_is_a_dead_letter_in_the_end(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Foreign())
    runner = bench.runner({Note: leave_effect})
    assert await bench.work(runner) == 1
    await bench.superuser.execute("UPDATE app.outbox SET attempt = $1", UNKNOWN_LIMIT - 1)
    await bench.hurry()
    assert await bench.work(runner) == 1
    row = await bench.row(job_id)
    assert row["status"] == "dead"
    assert "test.foreign" in row["last_error"]


async def test_a_cancelled_job_is_released_at_once_and_not_counted(bench: Workbench) -> None:
    begun = asyncio.Event()

    async def hang(db: Transaction, task: Note, context: JobContext) -> None:
        await leave_effect(db, task, context)
        begun.set()
        await asyncio.sleep(60)

    (job_id,) = await bench.ask(Note())
    (lease,) = await bench.leases()
    run = asyncio.create_task(bench.runner({Note: hang}).run(lease))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    row = await bench.row(job_id)
    assert (row["status"], row["failures"], row["crashes"]) == ("due", 0, 0)
    assert await bench.effects() == []


async def test_a_commit_that_fails_fails_the_job(bench: Workbench) -> None:
    async def poison(db: Transaction, task: Note, context: JobContext) -> None:
        enqueue(db, Note(text="\0"))

    (job_id,) = await bench.ask(Note())
    await bench.work(bench.runner({Note: poison}))
    assert (await bench.row(job_id))["failures"] == 1
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.outbox") == 1


async def test_two_tasks_cannot_share_a_name(bench: Workbench) -> None:
    class Twin(Note, frozen=True):
        pass

    with pytest.raises(ValueError, match="share a name"):
        bench.runner({Note: leave_effect, Twin: leave_effect})


def test_pauses_grow_and_end_at_an_hour_and_use_their_whole_range() -> None:
    for failures in (1, 2, 5, 11, 12, 40, 5000):
        longest = min(LONGEST_PAUSE, 2.0 ** min(failures, 40))
        pauses = [backoff(failures) for _ in range(400)]
        assert 0 <= min(pauses) < longest / 10
        assert longest * 0.9 < max(pauses) <= longest


def test_an_end_that_was_foreseen_is_placed_where_its_cause_is() -> None:
    def refuse() -> None:
        raise OSError("550 no such mailbox")

    try:
        try:
            refuse()
        except OSError as error:
            raise GiveUp(str(error)) from error
    except GiveUp as error:
        text = describe(error)
    line = refuse.__code__.co_firstlineno + 1
    assert text.startswith("GiveUp: 550 no such mailbox (")
    assert text.endswith(f"test_jobs.py:{line})")


def test_an_error_is_described_by_its_first_line_and_its_place() -> None:
    try:
        raise Unavailable(private="secret")
    except Unavailable as error:
        text = describe(error)
    assert text.startswith("Unavailable: The service is briefly unavailable")
    assert "test_jobs.py" in text
    assert "secret" not in text
    assert len(describe(ValueError("x" * 9000))) <= 600
    assert "\0" not in describe(ValueError("a\0b"))


@pytest.mark.parametrize(
    ("every", "now", "tick"),
    [
        (timedelta(minutes=5), "2026-11-21T10:07:31", "2026-11-21T10:05:00"),
        (timedelta(minutes=5), "2026-11-21T10:05:00", "2026-11-21T10:05:00"),
        (timedelta(days=1), "2026-03-29T23:59:59", "2026-03-29T00:00:00"),
        ("0 4 * * *", "2026-11-21T03:59:59", "2026-11-20T04:00:00"),
        ("0 4 * * *", "2026-11-21T04:00:00", "2026-11-21T04:00:00"),
        ("30 2 31 * *", "2026-03-01T00:00:00", "2026-01-31T02:30:00"),
    ],
)
def test_the_latest_tick_is_at_or_before_now(every: timedelta | str, now: str, tick: str) -> None:
    def moment(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert latest_tick(every, moment(now)) == moment(tick)
