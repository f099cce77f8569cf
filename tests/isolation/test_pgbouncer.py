"""The same proof where two connections of the program's share one to the server, a transaction at a time."""

import asyncio

import asyncpg
import pytest

from tests.isolation.arena import Arena, assert_nothing_of
from tests.isolation.hostile import HOSTILE
from tests.isolation.test_cancellation import read
from tests.isolation.test_hostile_sql import aimed, mixture

pytestmark = pytest.mark.peers

BACKEND = "SELECT pg_backend_pid()"


async def backend(arena: Arena) -> int:
    async with arena.inside(arena.a, read_only=True) as transaction:
        pid: int = await transaction.driver.fetchval(BACKEND)
        return pid


@pytest.mark.parametrize("attack", HOSTILE)
async def test_the_neighbour_is_safe_from(pooled_arena: Arena, attack: str) -> None:
    await pooled_arena.duel(aimed(HOSTILE[attack], pooled_arena), read_only=True)


async def test_the_neighbour_is_safe_from_any_mixture(pooled_arena: Arena, isolation_examples: int) -> None:
    for _ in range(isolation_examples):
        with mixture() as (chance, statements):
            await pooled_arena.duel(aimed(statements, pooled_arena), read_only=chance.random() < 0.5)


async def test_the_neighbour_who_works_between_any_two_hostile_statements_is_safe_from_them(
    pooled_arena: Arena, isolation_examples: int
) -> None:
    """Each mixture leaves its transaction somewhere: from there on both share the backend, a statement at a time."""
    met = 0

    async def neighbour_works() -> None:
        nonlocal met
        assert_nothing_of(pooled_arena.a, await pooled_arena.works_for(pooled_arena.b))
        met += 1

    for _ in range(isolation_examples):
        pooled_arena.a, pooled_arena.b = pooled_arena.b, pooled_arena.a
        with mixture() as (chance, statements):
            statements.insert(chance.randrange(len(statements)), chance.choice(["COMMIT", "ROLLBACK"]))
            read_only = chance.random() < 0.5
            told = await pooled_arena.attack(
                aimed(statements, pooled_arena), read_only=read_only, between=neighbour_works
            )
            assert_nothing_of(pooled_arena.b, told)
            assert_nothing_of(pooled_arena.b, await pooled_arena.attack(pooled_arena.harvest, read_only=read_only))
            assert_nothing_of(pooled_arena.b, await pooled_arena.works_for(pooled_arena.a))
    assert met > isolation_examples, "they hardly met"


async def test_two_tenants_take_turns_on_one_connection(pooled_arena: Arena) -> None:
    backends = {await backend(pooled_arena) for _ in range(4)}
    assert len(backends) == 1
    for _ in range(50):
        await asyncio.gather(*(read(pooled_arena, tenant) for tenant in (pooled_arena.a, pooled_arena.b) * 2))


async def test_a_touched_backend_ends_before_the_neighbour_meets_it(pooled_arena: Arena) -> None:
    touched = await backend(pooled_arena)
    await pooled_arena.attack(["PREPARE planted AS SELECT 1"], read_only=True)
    assert await pooled_arena.superuser.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", touched) == 1
    await pooled_arena.works_for(pooled_arena.b)
    assert await pooled_arena.superuser.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", touched) == 0


async def test_a_setting_of_one_clients_session_reaches_no_other(pooled_arena: Arena) -> None:
    await pooled_arena.attack(["SET app.context = 'deadbeef'", "SET search_path = pg_temp", "COMMIT"], read_only=True)
    stranger = await asyncpg.connect(pooled_arena.world.settings.database_url, statement_cache_size=0)
    try:  # without our BEGIN: this is what the pooler would hand over
        assert await stranger.fetchval("SELECT current_setting('app.context', true)") == "deadbeef"
    finally:
        await stranger.close()
    await pooled_arena.works_for(pooled_arena.b)
