"""The outbox as operators see it."""

from uuid import uuid4

import pytest

from insula.core.db import Transaction
from insula.core.errors import Conflict, NotFound
from insula.core.ids import to_text
from insula.core.jobs import GiveUp, JobContext
from insula.core.outbox import discard_job, list_jobs, retry_job
from tests.core.job_bench import ACME, Bench, Note, leave_effect

ADA = uuid4()


async def give_up(db: Transaction, task: Note, context: JobContext) -> None:
    raise GiveUp("hopeless")


async def test_a_dead_letter_can_be_listed_retried_and_discarded(bench: Bench) -> None:
    first, second = await bench.ask(Note(text="a"), Note(text="b"), user=ADA)
    await bench.work(bench.runner({Note: give_up}))
    async with bench.platform.transaction() as db:
        page = await list_jobs(db, limit=1)
        assert [(job.id, job.organization_id, job.status) for job in page] == [(first, to_text("org", ACME), "dead")]
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
