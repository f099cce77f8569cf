"""Requests cancelled at any moment leave nothing of theirs on the one connection that two tenants share."""

import asyncio
import random
import secrets

import pytest

from insula.core.errors import Unavailable
from insula.core.ids import to_uuid
from tests.isolation.arena import Arena, Tenant

READ = "SELECT tenant_id, name FROM app.project"


async def read(arena: Arena, tenant: Tenant) -> None:
    """One tenant's read, checked row by row."""
    async with arena.inside(tenant, read_only=True) as transaction:
        for row in await transaction.driver.fetch(READ):
            assert row["tenant_id"] == to_uuid("org", tenant.owner.organization_id)
            assert row["name"] == tenant.word
        await transaction.commit()


async def write(arena: Arena, tenant: Tenant) -> None:
    """A command over HTTP, with an ORM session."""
    await arena.works_for(tenant)


@pytest.mark.attack(10)
async def test_reads_cancelled_at_random_never_see_the_neighbour(arena: Arena, pytestconfig: pytest.Config) -> None:
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    duration = await usual_duration(arena)
    cancelled = 0
    for number in range(pytestconfig.getoption("--isolation-reads", default=1000)):
        tenant = (arena.a, arena.b)[number % 2]
        act = write if chance.random() < 0.05 else read
        attempt = asyncio.create_task(act(arena, tenant))
        if chance.random() < 0.5:
            await asyncio.wait({attempt}, timeout=chance.random() * duration)
            attempt.cancel()
        try:
            await attempt
        except asyncio.CancelledError:
            cancelled += 1
        except Unavailable as error:
            raise AssertionError(f"seed {seed}, read {number}: the pool did not recover: {error.private}") from error
    assert cancelled
    assert arena.database.in_use == 0
    await read(arena, arena.a)
    await read(arena, arena.b)


async def usual_duration(arena: Arena) -> float:
    started = asyncio.get_running_loop().time()
    for _ in range(10):
        await read(arena, arena.a)
    return (asyncio.get_running_loop().time() - started) / 10
