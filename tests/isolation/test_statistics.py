"""What the planner expects of ids and values is the same whether the neighbour has them or nobody: it counts neither."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from insula.core.ids import to_uuid
from tests.factories import Member
from tests.isolation.arena import Arena
from tests.isolation.test_side_channels import owner_of, readable_columns, told, values_of

ESTIMATES = {
    "equality": (
        "SELECT 1 FROM {table} AS t JOIN generate_series(1, 1000000) AS s (x) ON t.{column} = '{id}' OR s.x IS NULL"
    ),
    "anything else": "SELECT 1 FROM {table} WHERE {column} <> '{id}'",
    "one of several": "SELECT 1 FROM {table} WHERE {column} = ANY (ARRAY['{id}'::uuid])",
    "what comes before": (
        "SELECT 1 FROM {table} AS t JOIN generate_series(1, 1000000) AS s (x) ON t.{column} <= '{id}' OR s.x IS NULL"
    ),
    "rows": "SELECT 1 FROM {table} WHERE ROW({column}, {column}) >= ROW('{id}'::uuid, '{id}'::uuid)",
}
"""What the planner expects of an id that it is asked about."""


async def estimates_of(arena: Arena, table: str, column: str) -> dict[str, set[str]]:
    """The plans for the neighbour's ids and for nobody's, the ids themselves left out."""
    owner, whose = owner_of(arena, table)
    await arena.superuser.execute(f"ANALYZE {table}")
    theirs = await arena.superuser.fetch(
        f"SELECT DISTINCT {column} FROM {table} WHERE {owner} = $1 AND {column} IS NOT NULL ORDER BY 1 LIMIT 3", whose
    )
    nobodys = [UUID(int=row[0].int ^ 1) for row in theirs]
    if table != "app.event":  # there, an id names the month that is read
        nobodys += [UUID(int=0), UUID(int=2**128 - 1)]
    plans: dict[str, set[str]] = {shape: set() for shape in ESTIMATES}
    for each in [row[0] for row in theirs] + nobodys:
        for shape, statement in ESTIMATES.items():
            words = {"table": table, "column": column, "id": each}
            plans[shape].add(
                (await told(arena, "as it likes", statement.format(**words), "VERBOSE")).replace(str(each), "?")
            )
    return plans


@pytest.mark.attack(16)
async def test_no_estimate_tells_whose_ids_there_are(arena: Arena) -> None:
    columns = [(table, column) for table, column, kind in await readable_columns(arena) if kind == "uuid"]
    assert len(columns) > 12
    for table, column in columns:
        for shape, plans in (await estimates_of(arena, table, column)).items():
            assert len(plans) == 1, (table, column, shape, plans)


async def test_the_estimates_would_tell_where_ids_are_counted(arena: Arena) -> None:
    async with counting(arena, "id", "tenant_id"), copies(arena, arena.b.owner, "one of many", 20):
        # Most common are values that are there twice.
        by_id = await estimates_of(arena, "app.project", "id")
        by_tenant = await estimates_of(arena, "app.project", "tenant_id")
    assert len(by_id["what comes before"]) > 1
    assert len(by_tenant["equality"]) > 1


async def expected_of_names(arena: Arena, name: str) -> int:
    """How many rows the planner expects of joins by name, once a row of A's own with this name was among those counted."""
    async with copies(arena, arena.a.owner, name, 0), copies(arena, arena.b.owner, "one of many", 400):
        await arena.superuser.execute("ANALYZE app.project")
    joined = "SELECT 1 FROM app.project AS t JOIN generate_series(1, 1000000000) AS s (x) ON t.name = s.x::text"
    plan = json.loads(await told(arena, "as it likes", joined, "VERBOSE"))
    return int(plan[0]["Plan"]["Plan Rows"])


@pytest.mark.attack(16)
async def test_no_count_of_different_values_tells_whether_another_has_one(arena: Arena) -> None:
    theirs, nobodys = await values_of(arena, "app.project", "name")
    assert await expected_of_names(arena, theirs) == await expected_of_names(arena, nobodys)


async def test_the_count_would_tell_where_values_are_counted(arena: Arena) -> None:
    theirs, nobodys = await values_of(arena, "app.project", "name")
    async with counting(arena, "name"):
        known, new = await expected_of_names(arena, theirs), await expected_of_names(arena, nobodys)
    assert known != new


@asynccontextmanager
async def counting(arena: Arena, *columns: str) -> AsyncIterator[None]:
    """ANALYZE looks at these columns of projects, as it would without our migrations."""
    alter = "ALTER TABLE app.project " + ", ".join(f"ALTER {column} SET STATISTICS {{0}}" for column in columns)
    await arena.superuser.execute(alter.format(100))
    try:
        yield
    finally:
        await arena.superuser.execute(alter.format(0))
        await arena.superuser.execute("DELETE FROM pg_statistic WHERE starelid = 'app.project'::regclass")


@asynccontextmanager
async def copies(arena: Arena, member: Member, name: str, more: int) -> AsyncIterator[None]:
    """A project of this name, and more whose names begin with it."""
    await arena.superuser.execute(
        "INSERT INTO app.project SELECT (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(), 'key',"
        " 'COPY' || n, 'name', concat($2::text, nullif(n, 0))))).* FROM app.project AS p, generate_series(0, $3) AS n"
        " WHERE p.tenant_id = $1 AND p.id = (SELECT id FROM app.project WHERE tenant_id = $1 ORDER BY id LIMIT 1)",
        to_uuid("org", member.organization_id),
        name,
        more,
    )
    try:
        yield
    finally:
        await arena.superuser.execute("DELETE FROM app.project WHERE key LIKE 'COPY%'")
