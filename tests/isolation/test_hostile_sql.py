"""Arbitrary SQL in one tenant's transaction gets no row and no secret of the next tenant on the same connection."""

import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg
import pytest

from insula.core import db
from tests.isolation.arena import Arena, answers, assert_nothing_of
from tests.isolation.hostile import HOSTILE
from tests.isolation.hostile.extremes import EXTREMES

PATHS = pytest.mark.parametrize("read_only", [True, False], ids=["in a query", "in a command"])

TAKE_OVER = """
DEALLOCATE {name};
PREPARE {name} (bytea, uuid) AS
SELECT e.* FROM (SELECT set_config('stolen.secret', encode($1, 'hex'), false)) AS s, LATERAL app.enter($1, $2) AS e
"""


def aimed(statements: Sequence[str], arena: Arena) -> list[str]:
    """The statements, pointed at the neighbour."""
    b = arena.b
    return [
        statement.replace("{b_user}", b.person)
        .replace("{b_project}", b.project)
        .replace("{b}", b.id)
        .replace("{{", "{")
        .replace("}}", "}")
        for statement in statements
    ]


@pytest.mark.attack(15)
@pytest.mark.attack(16)
@PATHS
@pytest.mark.parametrize("attack", HOSTILE)
async def test_the_neighbour_is_safe_from(arena: Arena, attack: str, read_only: bool) -> None:
    await arena.duel(aimed(HOSTILE[attack], arena), read_only=read_only)


async def test_the_neighbour_is_safe_from_any_mixture(arena: Arena, isolation_examples: int) -> None:
    for _ in range(isolation_examples):
        with mixture() as (chance, statements):
            await arena.duel(aimed(statements, arena), read_only=chance.random() < 0.5)


@contextmanager
def mixture() -> Iterator[tuple[random.Random, list[str]]]:
    """Hostile statements at random, and the chance that chose them; what is raised over them tells how to repeat it."""
    pieces = [statement for attack, lines in HOSTILE.items() if attack not in EXTREMES for statement in lines]
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    statements = chance.sample(pieces, chance.randint(2, 12))
    try:
        yield chance, statements
    except Exception as error:
        error.add_note(f"seed {seed}: {statements}")
        raise


async def take_over_the_door(arena: Arena, *, read_only: bool) -> None:
    """What was measured once: the next tenant's call of the door runs the attacker's statement instead."""
    async with arena.inside(arena.a, read_only=read_only) as transaction:
        for name in await transaction.driver.fetch(
            "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT * FROM app.enter($1, $2)'"
        ):
            await transaction.driver.execute(TAKE_OVER.format(name=name[0]))
        await transaction.driver.execute("COMMIT")
        transaction.settled = True


async def stolen(arena: Arena) -> str:
    async with arena.inside(arena.a, read_only=True) as transaction:
        return await transaction.driver.fetchval("SELECT current_setting('stolen.secret', true)") or ""


@PATHS
async def test_a_statement_put_in_the_doors_place_steals_nothing(arena: Arena, read_only: bool) -> None:
    await arena.works_for(arena.a)
    await take_over_the_door(arena, read_only=read_only)
    await arena.works_for(arena.b)
    assert await stolen(arena) == ""


async def test_without_the_proof_at_begin_it_would_steal_the_neighbours_secret(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BEGIN", "BEGIN")
    await arena.works_for(arena.a)
    await take_over_the_door(arena, read_only=True)
    await arena.works_for(arena.b)
    assert await stolen(arena) == arena.b.session_hash.hex()
    monkeypatch.undo()
    assert await stolen(arena) == ""


async def test_every_statement_replaced_at_once_steals_nothing(arena: Arena) -> None:
    await arena.works_for(arena.a)
    async with arena.inside(arena.a, read_only=True) as transaction:
        for name, count in await transaction.driver.fetch(
            "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements"
        ):
            kept = ", ".join(
                f"set_config('stolen.secret', coalesce(${i}::text, ''), false)" for i in range(1, count + 1)
            )
            await answers(transaction.driver, [f"DEALLOCATE {name}", f"PREPARE {name} AS SELECT {kept or 1}"])
        await transaction.driver.execute("COMMIT")
        transaction.settled = True
    await arena.works_for(arena.b)
    assert await stolen(arena) == ""


@PATHS
async def test_a_leaked_context_is_worthless_in_any_other_transaction(arena: Arena, read_only: bool) -> None:
    async with arena.inside(arena.b, read_only=read_only) as transaction:
        leaked = await transaction.driver.fetchval("SELECT current_setting('app.context')")
        other = await asyncpg.connect(arena.world.settings.database_url)  # while it is still valid over there
        try:
            async with other.transaction():
                await refused(other, leaked)
        finally:
            await other.close()
    async with arena.inside(arena.a, read_only=read_only) as transaction:  # the same backend, a moment later
        await refused(transaction.driver, leaked)


async def refused(driver: asyncpg.Connection, context: str) -> None:
    """The context, set here, opens nothing and is called what it is."""
    await driver.execute("SAVEPOINT before")
    await driver.fetchval("SELECT set_config('app.context', $1, true)", context)
    for question in ("SELECT app.tenant_id()", "SELECT app.user_id()", "SELECT * FROM app.project"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="forged context"):
            await driver.fetch(question)
        await driver.execute("ROLLBACK TO before")
        await driver.fetchval("SELECT set_config('app.context', $1, true)", context)


async def test_every_bit_of_a_context_counts(arena: Arena) -> None:
    async with arena.inside(arena.a, read_only=True) as transaction:
        context = bytes.fromhex(await transaction.driver.fetchval("SELECT current_setting('app.context')"))
        assert len(context) == 64
        for bit in range(8 * len(context)):
            forged = bytearray(context)
            forged[bit // 8] ^= 1 << bit % 8
            told = await answers(
                transaction.driver, [f"SELECT set_config('app.context', '{forged.hex()}', true), app.tenant_id()"]
            )
            assert "forged context" in told


async def test_no_lock_can_be_left_behind_nor_anybody_be_ended(arena: Arena) -> None:
    """A lock of a session outlives its transaction; thousands of them fill the table of locks for everybody."""
    for statement in (
        "SELECT pg_advisory_lock(4711)",
        "SELECT count(pg_try_advisory_lock_shared(g)) FROM generate_series(1, 100) AS g",
        "SELECT pg_try_advisory_xact_lock(1, 2)",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_rw'",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app_rw'",
        "LOCK TABLE app.membership IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE app.team IN SHARE ROW EXCLUSIVE MODE",
    ):
        assert "permission denied" in await arena.attack([statement], read_only=True), statement
    async with arena.inside(arena.a, read_only=True) as transaction:  # who is not let in gets no lock of a key either
        unknown = "SELECT count(app.enter_once('x', app.tenant_id(), int4send(g))) FROM generate_series(1, 100) AS g"
        await transaction.driver.execute(unknown)
        mine = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1"
        assert await arena.superuser.fetchval(mine, transaction.driver.get_server_pid()) == 0
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    assert await arena.superuser.fetchval(held) == 0


async def test_no_large_object_is_touched(arena: Arena) -> None:
    for call in (
        "lo_open(1, 1)",
        "lo_close(0)",
        "lo_lseek(0, 0, 0)",
        "lo_lseek64(0, 0, 0)",
        "lo_tell(0)",
        "lo_tell64(0)",
    ):
        assert "permission denied" in await arena.attack([f"SELECT {call}"], read_only=True), call


async def test_values_travel_as_binds_only(arena: Arena) -> None:
    for tenant in (arena.a, arena.b):
        await arena.works_for(tenant)
        for row in await arena.superuser.fetch("SELECT query FROM pg_stat_activity WHERE usename = 'app_rw'"):
            assert_nothing_of(tenant, row["query"])
            assert tenant.id not in row["query"]


async def test_rows_scanned_by_parallel_workers_are_all_there_and_all_its_own(arena: Arena) -> None:
    await arena.superuser.execute(
        "INSERT INTO app.project SELECT (jsonb_populate_record(p, jsonb_build_object("
        "'id', gen_random_uuid(), 'key', 'K' || i))).* FROM app.project p, generate_series(1, 5000) AS i"
    )
    await arena.superuser.execute("ANALYZE app.project")
    try:
        async with arena.inside(arena.a, read_only=True) as transaction:
            for setting in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
                await transaction.driver.execute(f"SET LOCAL {setting} = 0")
            await transaction.driver.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
            question = (
                "SELECT count(*), min(tenant_id::text), max(tenant_id::text) FROM app.project WHERE length(name) > 1"
            )
            assert "Gather" in str(await transaction.driver.fetch(f"EXPLAIN {question}"))
            assert tuple(await transaction.driver.fetchrow(question)) == (5001, arena.a.id, arena.a.id)
    finally:
        await arena.superuser.execute("DELETE FROM app.project WHERE key ~ '^K'")
