"""The doors of jobs: a lease opens one job, once, while it lives; nothing else opens any."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from insula.core.runner import Lease
from tests.core.workbench import ACME, Note, Workbench, leave_effect

RIVAL = uuid4()


@pytest.mark.attack(11)
async def test_only_the_lease_of_this_very_job_opens_its_door(bench: Workbench) -> None:
    await bench.ask(Note(text="mine"))
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
            assert (await db.driver.fetchval("SELECT verdict FROM app.enter_job($1, $2)", *lease.proof)) == "stale"
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
        "SELECT app.claim_jobs('default', ARRAY[sha256('x')], 60, 10, 10, gen_random_uuid(), '{}', '{}')",
        "SELECT app.return_claims(ARRAY[gen_random_uuid()], ARRAY[sha256('x')])",
        "SELECT app.sweep_jobs(1, 60, '{}')",
        "SELECT app.purge_credentials(interval '0', 10)",
        "SELECT id FROM app.outbox",
        "UPDATE app.outbox SET status = 'due'",
        "DELETE FROM app.outbox",
        "INSERT INTO app.outbox (id, task, payload, tenant_id) VALUES (gen_random_uuid(), 'x', '{}', gen_random_uuid())",
        "INSERT INTO app.outbox (id, task, payload, lease_hash) VALUES (gen_random_uuid(), 'x', '{}', sha256('x'))",
        "SELECT app.set_context(gen_random_uuid(), NULL)",
    ],
)
async def test_the_application_can_neither_see_nor_claim_nor_forge_jobs(bench: Workbench, statement: str) -> None:
    await bench.ask(Note())
    async with bench.database.transaction() as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.driver.execute(statement)


async def test_a_lease_that_ran_out_opens_nothing(bench: Workbench) -> None:
    await bench.ask(Note())
    (lease,) = await bench.leases()
    await bench.hurry()
    await bench.runner({Note: leave_effect}).run(lease)
    assert await bench.effects() == []


async def test_a_late_handler_keeps_its_job_as_long_as_its_transaction_lives(bench: Workbench) -> None:
    (job_id,) = await bench.ask(Note())
    (lease,) = await bench.leases()
    async with bench.database.transaction(read_only=True) as db:
        await db.driver.execute("SELECT app.start_job($1, $2, 0.2)", *lease.proof)
        await db.commit()
    async with bench.database.transaction() as db:
        assert await db.driver.fetchval("SELECT verdict FROM app.enter_job($1, $2)", *lease.proof) == "admitted"
        await asyncio.sleep(0.25)
        async with asyncio.timeout(1):
            await bench.upkeep().sweep()
        assert (await bench.row(job_id))["crashes"] == 0
        assert await db.driver.fetchval("SELECT app.finish_job($1, $2)", *lease.proof)
        await db.commit()
    await bench.upkeep().sweep()
    assert (await bench.row(job_id))["status"] == "done"


async def test_a_second_run_of_the_same_lease_finds_the_job_taken(bench: Workbench) -> None:
    await bench.ask(Note())
    (lease,) = await bench.leases()
    async with bench.database.transaction() as first, bench.database.transaction() as second:
        assert await first.driver.fetchval("SELECT verdict FROM app.enter_job($1, $2)", *lease.proof) == "admitted"
        assert await second.driver.fetchval("SELECT verdict FROM app.enter_job($1, $2)", *lease.proof) == "stale"
