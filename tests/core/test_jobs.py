"""Jobs, from the transaction that asks for them to the commit that ends them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from insula.core.db import Transaction
from insula.core.errors import Conflict, NotFound, Unavailable
from insula.core.events import Event, record
from insula.core.ids import to_text, to_uuid
from insula.core.jobs import Effect, GiveUp, JobContext, enqueue, latest_tick, mailing
from insula.core.mail import Mail, MailRefused, MailUnavailable
from insula.core.outbox import discard_job, list_jobs, retry_job
from insula.core.permissions import Facts, Principal
from insula.core.runner import LONGEST_PAUSE, Lease, Runner, backoff, describe
from tests.core.job_bench import Bench, Foreign, Fragile, Note, bench, job_urls, leave_effect  # noqa: F401

ACME, RIVAL = uuid4(), uuid4()
ADA = uuid4()


class NoteLeft(Event, frozen=True):
    TYPE = "note.left"
    TARGET = "note"


async def break_down(db: Transaction, task: Any, context: JobContext) -> None:
    await leave_effect(db, task, context)
    raise ValueError("no such luck\nDETAIL: a row of somebody")


async def give_up(db: Transaction, task: Any, context: JobContext) -> None:
    raise GiveUp("hopeless")


async def test_a_job_asked_for_in_a_transaction_that_rolls_back_never_was(bench: Bench) -> None:
    async with bench.database.transaction() as db:
        enqueue(db, Note())
        await db.rollback()
    assert await bench.statuses() == {}


async def test_a_job_runs_as_the_tenant_and_the_user_who_asked_for_it(bench: Bench) -> None:
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
        ADA,
        job_id,
        "hello",
    )
    principal = Principal(to_text("usr", ADA), job_id, "job", to_text("org", ACME))
    assert seen == [(principal, Facts(trace_id="4bf92f3577b34da6a3ce929d0e0e4736"))]
    event = await bench.superuser.fetchrow("SELECT * FROM app.event WHERE credential_id = $1", job_id)
    assert event is not None and (event["tenant_id"], event["actor_type"]) == (ACME, "job")
    assert (await bench.row(job_id))["status"] == "done"


async def test_a_job_may_ask_for_further_jobs(bench: Bench) -> None:
    async def ask(db: Transaction, task: Note, context: JobContext) -> None:
        if task.text:
            enqueue(db, Note(text=task.text[1:]))

    await bench.ask(Note(text="abc"), tenant=ACME)
    assert await bench.work(bench.runner({Note: ask})) == 4
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.outbox WHERE tenant_id = $1", ACME) == 4


async def test_a_delayed_job_waits_for_its_time(bench: Bench) -> None:
    (job_id,) = await bench.ask(Note(), delay=0.3)
    runner = bench.runner({Note: leave_effect})
    assert await bench.work(runner) == 0
    assert (await bench.row(job_id))["status"] == "waiting"
    await asyncio.sleep(0.35)
    assert await bench.work(runner) == 1


async def test_a_failed_handler_leaves_nothing_behind_and_is_tried_again_later(bench: Bench) -> None:
    (job_id,) = await bench.ask(Note(), tenant=ACME)
    assert await bench.work(bench.runner({Note: break_down})) == 1
    row = await bench.row(job_id)
    assert await bench.effects() == []
    assert (row["status"], row["failures"], row["crashes"], row["lease_hash"]) == ("waiting", 1, 0, None)
    assert row["last_error"].startswith("ValueError: no such luck (")
    assert "somebody" not in row["last_error"]

    await bench.hurry()
    assert await bench.work(bench.runner({Note: leave_effect})) == 1
    assert len(await bench.effects()) == 1


async def test_at_its_limit_of_failures_a_job_becomes_a_dead_letter(bench: Bench) -> None:
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


async def test_a_handler_that_gives_up_makes_a_dead_letter_at_once(bench: Bench) -> None:
    (job_id,) = await bench.ask(Note())
    await bench.work(bench.runner({Note: give_up}))
    row = await bench.row(job_id)
    assert (row["status"], row["failures"]) == ("dead", 1)


async def test_a_handler_out_of_time_is_a_failure_and_no_crash(bench: Bench) -> None:
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


async def test_a_payload_of_another_release_counts_as_a_failure(bench: Bench) -> None:
    (job_id,) = await bench.ask(Note())
    await bench.superuser.execute("""UPDATE app.outbox SET payload = '{"colour": "red"}'""")
    await bench.work(bench.runner({Note: leave_effect}))
    assert (await bench.row(job_id))["failures"] == 1


async def test_an_unknown_kind_of_task_goes_back_without_being_counted(bench: Bench) -> None:
    (job_id,) = await bench.ask(Foreign())
    assert await bench.work(bench.runner({Note: leave_effect})) == 1
    row = await bench.row(job_id)
    assert (row["status"], row["failures"], row["crashes"], row["lease_hash"]) == ("waiting", 0, 0, None)
    await bench.hurry()
    assert await bench.work(bench.runner({Foreign: leave_effect})) == 1
    assert (await bench.row(job_id))["status"] == "done"


async def test_a_cancelled_job_is_released_at_once_and_not_counted(bench: Bench) -> None:
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


@pytest.mark.attack(11)
async def test_only_the_lease_of_this_very_job_opens_its_door(bench: Bench) -> None:
    await bench.ask(Note(text="mine"), tenant=ACME)
    await bench.ask(Note(text="theirs"), tenant=RIVAL)
    mine, theirs = await bench.leases()
    stored = (await bench.row(mine.job_id))["lease_hash"]
    runner = bench.runner({Note: leave_effect})
    forged = [
        Lease(mine.job_id, theirs.secret),
        Lease(theirs.job_id, mine.secret),
        Lease(mine.job_id, bytes(32)),
        Lease(mine.job_id, b""),
        Lease(mine.job_id, stored),
        Lease("job_01jzzzzzzzzzzzzzzzzzzzzzzz", mine.secret),
        Lease("job_nonsense' OR true --", mine.secret),
        Lease(mine.job_id.replace("job_", "org_"), mine.secret),
    ]
    for lease in forged:
        await runner.run(lease)
        async with bench.database.transaction() as db:
            assert (
                await db.driver.fetchval("SELECT verdict FROM app.enter_job($1, $2)", *lease.proof)
            ) == "stale"
            assert await db.driver.fetchval("SELECT app.tenant_id()") is None
            assert await db.driver.fetchval("SELECT app.finish_job($1, $2)", *lease.proof) is False
            assert await db.driver.fetchval("SELECT app.fail_job($1, $2, 'x', NULL)", *lease.proof) is False
            assert await db.driver.fetchval("SELECT app.release_job($1, $2, 0)", *lease.proof) is False
            await db.commit()
    assert await bench.effects() == []
    await runner.run(mine)
    await runner.run(theirs)
    assert {(row["tenant_id"], row["note"]) for row in await bench.effects()} == {
        (ACME, "mine"),
        (RIVAL, "theirs"),
    }
    await runner.run(mine)
    assert len(await bench.effects()) == 2


@pytest.mark.attack(11)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT app.claim_jobs(ARRAY[sha256('x')], 60, 10, 10, gen_random_uuid())",
        "SELECT app.return_claims(ARRAY[gen_random_uuid()], ARRAY[sha256('x')])",
        "SELECT app.sweep_jobs(1, 60)",
        "SELECT app.purge_credentials(interval '0', 10)",
        "SELECT id FROM app.outbox",
        "UPDATE app.outbox SET status = 'due'",
        "DELETE FROM app.outbox",
        "INSERT INTO app.outbox (id, task, payload, tenant_id) VALUES (gen_random_uuid(), 'x', '{}', gen_random_uuid())",
        "INSERT INTO app.outbox (id, task, payload, lease_hash) VALUES (gen_random_uuid(), 'x', '{}', sha256('x'))",
        "SELECT app.set_context(gen_random_uuid(), NULL)",
    ],
)
async def test_the_application_can_neither_see_nor_claim_nor_forge_jobs(bench: Bench, statement: str) -> None:
    await bench.ask(Note(), tenant=ACME)
    async with bench.database.transaction() as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.driver.execute(statement)


async def test_a_lease_that_ran_out_opens_nothing(bench: Bench) -> None:
    await bench.ask(Note(), tenant=ACME)
    (lease,) = await bench.leases()
    await bench.hurry()
    await bench.runner({Note: leave_effect}).run(lease)
    assert await bench.effects() == []


async def test_a_late_handler_keeps_its_job_as_long_as_its_transaction_lives(bench: Bench) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def wait(db: Transaction, task: Note, context: JobContext) -> None:
        await leave_effect(db, task, context)
        entered.set()
        await go_on.wait()

    (job_id,) = await bench.ask(Note())
    (lease,) = await bench.leases()
    run = asyncio.create_task(bench.runner({Note: wait}).run(lease))
    await entered.wait()
    other = await asyncpg.connect(bench.urls["admin"])
    # Behind the lock's back, as the clock would: the row itself cannot be written while the handler holds it.
    with pytest.raises(asyncpg.LockNotAvailableError):
        await other.execute("SET lock_timeout = '100ms'; UPDATE app.outbox SET leased_until = now()")
    await other.close()
    await bench.upkeep().sweep()
    assert (await bench.row(job_id))["status"] == "leased"
    go_on.set()
    await run
    assert (await bench.row(job_id))["status"] == "done"
    assert len(await bench.effects()) == 1


def paused_effect(entered: asyncio.Event, go_on: asyncio.Event, sent: list[str]) -> Effect[str, str]:
    async def prepare(db: Transaction, task: Note, context: JobContext) -> str:
        return task.text

    async def perform(plan: str, context: JobContext) -> str:
        if context.attempt == 1:
            entered.set()
            await go_on.wait()
        sent.append(context.job_id)
        return f"{plan} {context.attempt}"

    async def keep(db: Transaction, task: Note, result: str, context: JobContext) -> None:
        await leave_effect(db, Note(text=result), context)

    return Effect(prepare=prepare, perform=perform, record=keep)


async def test_a_worker_whose_lease_was_given_away_cannot_commit(bench: Bench) -> None:
    entered, go_on, sent = asyncio.Event(), asyncio.Event(), []
    runner = bench.runner({Note: paused_effect(entered, go_on, sent)})
    (job_id,) = await bench.ask(Note(text="attempt"), tenant=ACME)
    (stale,) = await bench.leases()
    first = asyncio.create_task(runner.run(stale))
    await entered.wait()

    await bench.hurry()
    await bench.upkeep().sweep()
    row = await bench.row(job_id)
    assert (row["status"], row["crashes"], row["failures"]) == ("waiting", 1, 0)
    await bench.hurry()
    assert await bench.work(runner) == 1

    go_on.set()
    await first
    assert [row["note"] for row in await bench.effects()] == ["attempt 2"]
    assert sent == [job_id, job_id], "both attempts show other systems the same key"
    row = await bench.row(job_id)
    assert (row["status"], row["attempt"], row["failures"]) == ("done", 2, 0)


async def test_no_connection_is_held_while_an_effect_is_performed(bench: Bench) -> None:
    held: list[int] = []

    async def prepare(db: Transaction, task: Note, context: JobContext) -> str:
        held.append(bench.database.in_use)
        return "plan"

    async def perform(plan: str, context: JobContext) -> None:
        held.append(bench.database.in_use)

    await bench.ask(Note())
    await bench.work(bench.runner({Note: Effect(prepare=prepare, perform=perform)}))
    assert held == [1, 0]
    assert await bench.statuses() == {"done": 1}


async def test_an_effect_with_nothing_to_do_is_done(bench: Bench) -> None:
    async def prepare(db: Transaction, task: Note, context: JobContext) -> None:
        return None

    async def perform(plan: None, context: JobContext) -> None:
        raise AssertionError("there was nothing to do")

    await bench.ask(Note())
    await bench.work(bench.runner({Note: Effect(prepare=prepare, perform=perform)}))
    assert await bench.statuses() == {"done": 1}


@pytest.mark.parametrize(
    ("trouble", "status"),
    [(None, "done"), (MailUnavailable("later"), "waiting"), (MailRefused("never"), "dead")],
)
async def test_a_letter_is_sent_or_tried_again_or_given_up(
    bench: Bench, trouble: Exception | None, status: str
) -> None:
    async def write(db: Transaction, task: Note, context: JobContext) -> Mail:
        return Mail(to="ada@example.com", template="test/hello", message_id=context.job_id)

    bench.letterbox.trouble = trouble
    (job_id,) = await bench.ask(Note())
    await bench.work(bench.runner({Note: mailing(write)}))
    assert (await bench.row(job_id))["status"] == status
    assert [letter.message_id for letter in bench.letterbox.letters] == ([] if trouble else [job_id])


async def test_a_dead_letter_can_be_listed_retried_and_discarded(bench: Bench) -> None:
    first, second = await bench.ask(Note(text="a"), Note(text="b"), tenant=ACME, user=ADA)
    await bench.work(bench.runner({Note: give_up}))
    async with bench.platform.transaction() as db:
        page = await list_jobs(db, limit=1)
        assert [(job.id, job.organization_id, job.status) for job in page] == [
            (first, to_text("org", ACME), "dead")
        ]
        assert [job.id for job in await list_jobs(db, after=first)] == [second]
        before, after = await retry_job(db, first)
        assert (before.status, before.failures, after.status, after.failures) == ("dead", 1, "due", 0)
        before, after = await discard_job(db, second)
        assert (before.status, after.status, after.user_id) == ("dead", "discarded", to_text("usr", ADA))
        await db.commit()
    await bench.work(bench.runner({Note: leave_effect}))
    assert [row["note"] for row in await bench.effects()] == ["a"]
    async with bench.platform.transaction() as db:
        for job in (first, second):
            with pytest.raises(Conflict):
                await retry_job(db, job)
        with pytest.raises(NotFound):
            await discard_job(db, "job_unknown")


async def test_a_commit_that_fails_fails_the_job(bench: Bench) -> None:
    async def poison(db: Transaction, task: Note, context: JobContext) -> None:
        enqueue(db, Note(text="\0"))

    (job_id,) = await bench.ask(Note())
    await bench.work(bench.runner({Note: poison}))
    assert (await bench.row(job_id))["failures"] == 1
    assert await bench.superuser.fetchval("SELECT count(*) FROM app.outbox") == 1


async def test_two_tasks_cannot_share_a_name(bench: Bench) -> None:
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
