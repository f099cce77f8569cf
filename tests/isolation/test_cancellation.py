"""Requests cancelled at any moment leave nothing of theirs on the connections that two tenants share."""

import asyncio
import random
import secrets
import time

import pytest

from insula.core.errors import Unavailable
from insula.core.ids import to_uuid
from tests.isolation.arena import Arena, Tenant

READ = "SELECT tenant_id, name FROM app.project"
CLIENTS = 4
"""For two connections: who waits for one is cancelled as well."""
PARTS = 2
"""As many processes can share the long form."""


async def read(arena: Arena, tenant: Tenant) -> None:
    """One tenant's read, checked row by row."""
    async with arena.inside(tenant, read_only=True) as transaction:
        rows = await transaction.driver.fetch(READ)
        assert [tuple(row) for row in rows] == [(to_uuid("org", tenant.owner.organization_id), tenant.word)]
        await transaction.commit()


async def write(arena: Arena, tenant: Tenant) -> None:
    """A command over HTTP, with an ORM session."""
    await arena.works_for(tenant)


@pytest.mark.attack(10)
@pytest.mark.parametrize("part", range(PARTS))
async def test_reads_cancelled_at_random_never_see_the_neighbour(
    storm_arena: Arena, pytestconfig: pytest.Config, part: int
) -> None:
    reads = pytestconfig.getoption("--isolation-reads", default=2000) // PARTS
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(storm(storm_arena, reads // CLIENTS)) for _ in range(CLIENTS)]
    cancelled = sum(client.result() for client in clients)
    print(f"{reads} reads, {cancelled} of them cancelled, 0 foreign rows, {time.monotonic() - began:.0f} s")
    assert cancelled > reads / 10
    assert storm_arena.database.in_use == 0
    await read(storm_arena, storm_arena.a)
    await read(storm_arena, storm_arena.b)


async def storm(arena: Arena, reads: int) -> int:
    """One client: its reads for both tenants in turn, every second one cancelled. Returns how many were."""
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    usual, cancelled = 0.005, 0
    for number in range(reads):
        tenant = (arena.a, arena.b)[number % 2]
        act = write if chance.random() < 0.05 else read
        attempt, began = asyncio.create_task(act(arena, tenant)), time.monotonic()
        if doomed := chance.random() < 0.5:
            await asyncio.wait({attempt}, timeout=chance.random() * usual)
            attempt.cancel()
        try:
            await attempt
        except asyncio.CancelledError:
            cancelled += 1
        except Unavailable as error:
            raise AssertionError(f"seed {seed}, read {number}: the pool did not recover: {error.private}") from error
        if not doomed:  # as busy as the machine is now, cancel at every moment of the way
            usual += (time.monotonic() - began - usual) / 20
    return cancelled
