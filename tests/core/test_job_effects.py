"""Jobs that reach outside of the database: repeated under one key, counted once."""

import asyncio

import pytest

from insula.core.db import Transaction
from insula.core.jobs import Effect, JobContext, mailing
from insula.core.mail import Mail, MailRefused, MailUnavailable
from tests.core.workbench import Note, Workbench, leave_effect


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


async def test_a_worker_whose_lease_was_given_away_cannot_commit(bench: Workbench) -> None:
    sent: list[str] = []
    entered, go_on = asyncio.Event(), asyncio.Event()
    runner = bench.runner({Note: paused_effect(entered, go_on, sent)})
    (job_id,) = await bench.ask(Note(text="attempt"))
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


async def test_no_connection_is_held_while_an_effect_is_performed(bench: Workbench) -> None:
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


async def test_an_effect_with_nothing_to_do_is_done(bench: Workbench) -> None:
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
    bench: Workbench, trouble: Exception | None, status: str
) -> None:
    async def write(db: Transaction, task: Note, context: JobContext) -> Mail:
        return Mail(to="ada@example.com", template="test/hello", message_id=context.job_id)

    bench.letterbox.trouble = trouble
    (job_id,) = await bench.ask(Note())
    await bench.work(bench.runner({Note: mailing(write)}))
    assert (await bench.row(job_id))["status"] == status
    assert [letter.message_id for letter in bench.letterbox.letters] == ([] if trouble else [job_id])
