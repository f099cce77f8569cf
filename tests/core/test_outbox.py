"""What operators decide about dead letters."""

import pytest

from insula.core.db import Transaction
from insula.core.errors import Conflict, NotFound
from insula.core.jobs import GiveUp, JobContext
from insula.core.outbox import discard_job, retry_job
from tests.core.workbench import Note, Workbench, leave_effect


async def give_up(db: Transaction, task: Note, context: JobContext) -> None:
    raise GiveUp("hopeless")


async def test_a_dead_letter_is_retried_with_all_its_attempts_or_discarded(bench: Workbench) -> None:
    first, second = await bench.ask(Note(text="a"), Note(text="b"))
    await bench.work(bench.runner({Note: give_up}))
    assert await bench.statuses() == {"dead": 2}
    async with bench.platform.transaction() as db:
        await retry_job(db, first)
        await discard_job(db, second)
        await db.commit()
    assert [(await bench.row(job))["status"] for job in (first, second)] == ["due", "discarded"]
    assert (await bench.row(first))["failures"] == 0
    await bench.work(bench.runner({Note: leave_effect}))
    assert [row["note"] for row in await bench.effects()] == ["a"]
    async with bench.platform.transaction() as db:
        for job in (first, second):
            with pytest.raises(Conflict):
                await retry_job(db, job)
        with pytest.raises(NotFound):
            await discard_job(db, "job_unknown")


async def test_a_decision_that_is_refused_is_in_nobodys_way(bench: Workbench) -> None:
    (job,) = await bench.ask(Note(text="a"))
    (lease,) = await bench.leases()
    async with bench.platform.transaction() as db:
        for decide in (retry_job, discard_job):
            with pytest.raises(Conflict):
                await decide(db, job)
        await bench.runner({Note: leave_effect}).run(lease)  # while the operator's transaction is open
        await db.commit()
    assert (await bench.row(job))["status"] == "done"
