"""Nothing is asked of a row before its policy is, whatever a statement makes the planner believe of its conditions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.isolation.arena import Arena, policy_at_a_price

TABLES = {
    "app.project": ("tenant_id", False),
    "app.membership": ("tenant_id", False),
    "app.organization": ("tenant_id", False),
    "app.team": ("tenant_id", False),
    "app.event": ("tenant_id", False),
    'app."user"': ("id", True),
    "app.account_event": ("user_id", True),
}
"""Whose a row is, by table, and whether it is a person's."""

# The planner takes the condition of this join for what it is above the UNION ALL, where it names a column that tells
# nothing; below it, of the first half, that column is whatever stands there.
SHAPE = """
SELECT count(*) FROM generate_series(1, 1) AS v (x), LATERAL (
    SELECT v.x AS vx, {leak} IS NULL AS e FROM {table} AS t {sample} UNION ALL SELECT 1, true) AS u
 WHERE CASE WHEN u.e THEN v.x IS NULL ELSE true END
"""
# Of whoever else's row it is called for, it says whose that is.
TOLD = "(CASE WHEN t.{owner}::text <> '{mine}' THEN ('seen ' || t.{owner}::text)::int END)"
FREE = "EXISTS (SELECT FROM pg_foreign_table LIMIT {told})"

SAMPLED = "TABLESAMPLE SYSTEM (100)"
SETTINGS = {
    "as it is": ("", SAMPLED),
    "no index": ("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off", ""),
    "operators that cost nothing": ("SET LOCAL cpu_operator_cost = 0", SAMPLED),
    "nothing costs anything": (
        "SET LOCAL seq_page_cost = 0; SET LOCAL cpu_tuple_cost = 0; SET LOCAL cpu_operator_cost = 1e-9",
        SAMPLED,
    ),
}


async def ask(driver: asyncpg.Connection, table: str, leak: str, setting: str, mine: str = "") -> None:
    """Raises InvalidTextRepresentationError where a row of somebody else's was looked at."""
    changed, sample = SETTINGS[setting]
    told = TOLD.format(owner=TABLES[table][0], mine=mine)
    if changed:
        await driver.execute(changed)
    await driver.fetch(SHAPE.format(leak=leak.format(told=told), table=table, sample=sample))


@asynccontextmanager
async def outside(arena: Arena) -> AsyncIterator[asyncpg.Connection]:
    """As app_rw, without any context."""
    connection = await asyncpg.connect(arena.world.settings.database_url)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


@pytest.mark.attack(16)
@pytest.mark.parametrize("leak", ["{told}", FREE])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("table", TABLES)
async def test_nothing_is_called_for_a_row_of_others(arena: Arena, table: str, setting: str, leak: str) -> None:
    alone = TABLES[table][1]
    async with arena.inside(arena.a, read_only=True, alone=alone) as transaction:
        await ask(transaction.driver, table, leak, setting, str(arena.a.person if alone else arena.a.id))
    async with outside(arena) as driver:
        await ask(driver, table, leak, setting)


async def test_it_would_be_called_where_the_policy_costs_something(arena: Arena) -> None:
    async with policy_at_a_price(arena.superuser, 20), outside(arena) as driver:
        with pytest.raises(asyncpg.InvalidTextRepresentationError, match="seen "):
            await ask(driver, "app.project", "{told}", "as it is")


@pytest.mark.attack(16)
@pytest.mark.parametrize("table", ["app.project", "(SELECT * FROM app.project UNION ALL SELECT * FROM app.project)"])
async def test_no_subscript_tells_an_integer(arena: Arena, table: str) -> None:
    """It is no function, and is asked first; but of a bigint it asks for a cast, which is one."""
    asked = (
        f"SELECT count(*) FROM {table} AS t"
        " WHERE CASE WHEN ('[77:77]={t}'::bool[])[t.version] THEN (SELECT 1 / (random() * 0)::int = 1) ELSE true END"
    )
    await arena.superuser.execute("UPDATE app.project SET version = 77 WHERE tenant_id = $1", arena.b.id)
    async with arena.inside(arena.a, read_only=True) as transaction:
        await transaction.driver.execute(SETTINGS["no index"][0])
        await transaction.driver.fetch(asked)
