"""The doors of a job, called by SQL of its own instead of the program's."""

import asyncpg
import pytest
from prometheus_client import generate_latest

from insula.core import metrics
from insula.core.db import Transaction
from insula.core.jobs import JobContext
from tests.core.workbench import ACME, Note, Workbench, leave_effect

_FINISH = "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT app.finish_job($1, $2)'"


async def test_what_a_job_says_of_its_failure_is_cut(bench: Workbench) -> None:
    async def slip_in(db: Transaction, _: Note, __: JobContext) -> None:
        for (name,) in await db.driver.fetch(_FINISH):
            await db.driver.execute(
                f"DEALLOCATE {name}; PREPARE {name} (uuid, bytea) AS"  # PREPARE takes no binds
                " SELECT app.fail_job($1, $2, repeat('x', 1000000), NULL)"
            )

    for _ in range(8):  # until the driver has a statement of its own
        await bench.ask(Note())
    await bench.work(bench.runner({Note: leave_effect}))
    (job,) = await bench.ask(Note())
    await bench.work(bench.runner({Note: slip_in}))
    row = await bench.row(job)
    assert (row["status"], len(row["last_error"])) == ("dead", 2000)


@pytest.mark.parametrize("seconds", [7e12, float("inf"), float("nan"), -7e12])
async def test_a_lease_is_no_longer_than_the_longest(bench: Workbench, seconds: float) -> None:
    await bench.ask(Note())
    (lease,) = await bench.leases()
    async with bench.database.transaction() as db:
        await db.driver.fetch("SELECT app.start_job($1, $2, $3)", *lease.proof, seconds)
        await db.commit()
    until = await bench.superuser.fetchval("SELECT extract(epoch FROM leased_until - now()) FROM app.outbox")
    assert -1 < until <= 100_000


@pytest.mark.parametrize("door", ["SELECT app.release_job($1, $2, $3)", "SELECT app.fail_job($1, $2, 'x', $3)"])
@pytest.mark.parametrize("seconds", [-8e8, 8e8, float("inf"), float("nan")])
async def test_a_job_comes_back_between_now_and_tomorrow(bench: Workbench, door: str, seconds: float) -> None:
    await bench.ask(Note())
    (lease,) = await bench.leases()
    async with bench.database.transaction() as db:
        await db.driver.execute(door, *lease.proof, seconds)
        await db.commit()
    assert (await bench.statuses()).keys() <= {"due", "waiting"}
    after = await bench.superuser.fetchval("SELECT extract(epoch FROM due_at - now()) FROM app.outbox")
    assert -5 < after <= 86_400


async def test_the_names_of_tasks_that_nobody_knows_are_no_labels(bench: Workbench) -> None:
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, tenant_id, lane, task, payload, status, leased_until)"
        " SELECT gen_random_uuid(), $1, $1, 'made-up-' || n, '{}', 'leased', now() - interval '1 minute'"
        " FROM generate_series(1, 50) AS n",
        ACME,
    )
    await bench.upkeep().sweep()
    told = generate_latest(metrics.REGISTRY).decode()
    assert "made-up-" not in told
    assert 'task="unknown"' in told


async def test_nobody_else_has_these_doors(bench: Workbench) -> None:
    await bench.ask(Note())
    (lease,) = await bench.leases()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with bench.platform.transaction() as db:
            await db.driver.fetch("SELECT app.start_job($1, $2, 5)", *lease.proof)
