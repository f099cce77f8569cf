"""What PostgreSQL tells beside rows (plans, counts, estimates, errors) says nothing of values that others have."""

import json
import re
from typing import Any

import asyncpg
import pytest

from insula.core.ids import to_uuid
from tests.isolation.arena import Arena, policy_at_a_price

COLUMNS = (
    ("app.project", "name"),
    ("app.project", "name_norm"),
    ("app.membership", "email"),
    ("app.membership", "email_norm"),
    ("app.membership", "name_norm"),
    ("app.organization", "name"),
    ("app.event", "id::text"),
    ("app.event", "target_id"),
    ('app."user"', "email"),
    ('app."user"', "name"),
    ("app.account_event", "id::text"),
    ("app.account_event", "target_id"),
)

SHAPES = {
    "a range": "SELECT 1 FROM {table} WHERE {column} COLLATE \"C\" >= '{low}' AND {column} COLLATE \"C\" < '{high}'",
    "a range within their rows": (
        "SELECT 1 FROM {table} WHERE {owner} >= '{b}' AND {owner} <= '{b}'"
        " AND {column} COLLATE \"C\" >= '{low}' AND {column} COLLATE \"C\" < '{high}'"
    ),
    "equality": "SELECT 1 FROM {table} WHERE {column} = '{low}'",
    "one of several": "SELECT 1 FROM {table} WHERE {column} = ANY (ARRAY['{low}'])",
    "a range of keys": (
        "SELECT 1 FROM {table} WHERE {column} COLLATE \"C\" OPERATOR(app.#>=) '{low}'"
        " AND {column} COLLATE \"C\" OPERATOR(app.#<) '{high}'"
    ),
    "a range of keys within their rows": (
        "SELECT 1 FROM {table} WHERE {owner} >= '{b}' AND {owner} <= '{b}'"
        " AND {column} OPERATOR(app.#>=) '{low}' AND {column} OPERATOR(app.#<) '{high}'"
    ),
    "an equal key": "SELECT 1 FROM {table} WHERE {column} OPERATOR(app.#=) '{low}'",
    "one of several keys": "SELECT 1 FROM {table} WHERE {column} OPERATOR(app.#=) ANY (ARRAY['{low}'])",
    "keys in their order": (
        "SELECT 1 FROM {table} WHERE {column} OPERATOR(app.#>=) '{low}'"
        " ORDER BY {column} USING OPERATOR(app.#<), {owner} LIMIT 1"
    ),
    "keys of a join": (
        "SELECT 1 FROM (VALUES ('{low}')) AS v (x) JOIN {table} AS t ON v.x OPERATOR(app.#=) t.{column}"
        " WHERE t.{owner} = '{b}'"
    ),
    "the least": "SELECT min({column}) FROM {table} WHERE {column} >= '{low}'",
    "a prefix": "SELECT 1 FROM {table} WHERE starts_with({column}, '{low}')",
    "an estimate that is magnified": (
        "SELECT 1 FROM {table} AS t JOIN generate_series(1, 10) AS s (x) ON t.{column} < '{high}' OR s.x IS NULL"
    ),
}

PLANS = {
    "as it likes": "",
    "no index": "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off",
    "no reading in turn": "SET LOCAL enable_seqscan = off",
    "operators that cost nothing": "SET LOCAL enable_indexscan = off; SET LOCAL cpu_operator_cost = 0",
}


async def values_of(arena: Arena, table: str, column: str) -> list[str]:
    """A value that the neighbour has, and one that nobody has, which is sorted where the first one is."""
    owner, whose = owner_of(arena, table)
    found = await arena.superuser.fetchval(
        f"SELECT {column} FROM {table} WHERE {owner} = $1"
        f" AND {column} NOT IN (SELECT {column} FROM {table} WHERE {owner} <> $1) LIMIT 1",
        whose,
    )
    return [found, f"{found[:-1]}\x7f"]


def owner_of(arena: Arena, table: str) -> tuple[str, Any]:
    if table == 'app."user"':
        return "id", to_uuid("usr", arena.b.owner.person.id)
    if table == "app.account_event":
        return "user_id", to_uuid("usr", arena.b.owner.person.id)
    return "tenant_id", to_uuid("org", arena.b.owner.organization_id)


async def told(arena: Arena, plan: str, statement: str, explain: str) -> str:
    async with arena.inside(arena.a, read_only=True) as transaction:
        if PLANS[plan]:
            await transaction.driver.execute(PLANS[plan])
        # Not by fetchval, which keeps the statement, with the neighbour's value in its text, for whoever comes next.
        explaining = await transaction.driver.prepare(f"EXPLAIN ({explain}, FORMAT JSON) {statement}")
        return json.dumps(await explaining.fetchval())


def without_words(plan: str, value: str) -> Any:
    """The plan, but for the constants that were asked for."""
    return json.loads(plan.replace(json.dumps(value)[1:-1], "?"))


async def plans_of(arena: Arena, table: str, column: str, shape: str, plan: str) -> list[Any]:
    """What is told of a value that the neighbour has, and of one that nobody has."""
    owner, whose = owner_of(arena, table)
    plans = []
    for value in await values_of(arena, table, column):
        words = {"table": table, "column": column, "owner": owner, "b": whose, "low": value, "high": f"{value}~"}
        for explain in ("ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF", "VERBOSE"):
            answer = await told(arena, plan, SHAPES[shape].format(**words), explain)
            plans.append(without_words(answer, value))
    return [plans[:2], plans[2:]]


@pytest.mark.attack(16)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("table", "column"), COLUMNS)
async def test_no_plan_tells_whether_another_has_a_value(
    arena: Arena, table: str, column: str, shape: str, plan: str
) -> None:
    await arena.superuser.execute(f"ANALYZE {table}")
    theirs, nobodys = await plans_of(arena, table, column, shape, plan)
    assert theirs == nobodys


async def test_the_plans_would_tell_where_comparisons_are_leakproof(arena: Arena) -> None:
    await arena.superuser.execute(
        "ALTER FUNCTION text_ge(text, text) LEAKPROOF; ALTER FUNCTION text_lt(text, text) LEAKPROOF"
    )
    try:
        async with policy_at_a_price(arena.superuser, 20):
            theirs, nobodys = await plans_of(arena, "app.project", "name", "a range within their rows", "no index")
    finally:
        await arena.superuser.execute(
            "ALTER FUNCTION text_ge(text, text) NOT LEAKPROOF; ALTER FUNCTION text_lt(text, text) NOT LEAKPROOF"
        )
    assert theirs != nobodys


@pytest.mark.attack(16)
@pytest.mark.parametrize(("table", "column"), COLUMNS)
async def test_no_error_tells_whether_another_has_a_value(arena: Arena, table: str, column: str) -> None:
    answers = set()
    for value in await values_of(arena, table, column):
        async with arena.inside(arena.a, read_only=True) as transaction:
            try:
                await transaction.driver.fetchval(
                    "SELECT set_config('app.context', '00', true)"
                    f" || coalesce((SELECT max({column}) FROM {table}"
                    f" WHERE {column} COLLATE \"C\" >= '{value}' AND {column} COLLATE \"C\" < '{value}~'"
                    f" AND {column} || set_config('app.context', '00', true) <> ''), '')"
                )
                answers.add("nothing")
            except asyncpg.PostgresError as error:
                answers.add(str(error))
            await transaction.driver.execute("ROLLBACK")
            transaction.settled = True
    assert len(answers) == 1, answers


async def readable_columns(arena: Arena) -> list[tuple[str, str, str]]:
    """Table, column and type of all that requests may read."""
    found = await arena.superuser.fetch(
        "SELECT c.oid::regclass::text, quote_ident(a.attname), a.atttypid::regtype::text"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0"
        " AND has_column_privilege('app_rw', c.oid, a.attnum, 'SELECT')"
    )
    return [(row[0], row[1], row[2]) for row in found]


@pytest.mark.attack(16)
async def test_no_order_of_values_is_walked_past_others(arena: Arena) -> None:
    readable = [(table, column) for table, column, _ in await readable_columns(arena)]
    assert len(readable) > 40
    async with arena.inside(arena.a, read_only=True) as transaction:
        await transaction.driver.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        await transaction.driver.execute("SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off")
        for table, column in readable:
            plan = await transaction.driver.fetch(f"EXPLAIN SELECT {column} FROM {table} ORDER BY {column} LIMIT 1")
            text = "\n".join(row[0] for row in plan)
            for scan in re.split("->", text):
                if "Index" in scan.split("\n")[0]:
                    assert "Index Cond: " in scan, f"{table}.{column}: {text}"


@pytest.mark.attack(16)
async def test_no_document_is_looked_into_before_row_security(arena: Arena) -> None:
    async with arena.inside(arena.a, read_only=True) as transaction:
        with pytest.raises(asyncpg.PostgresError, match="cannot subscript type jsonb"):
            await transaction.driver.fetch("SELECT 1 FROM app.project WHERE metadata['x'] IS NOT NULL")
        await transaction.driver.execute("ROLLBACK")
        transaction.settled = True


# Equality of ids and IS NULL cost what a policy costs, nothing, and may be asked with it (README.md says what that tells).
IDS = {
    "ranges": "tenant_id >= '{b}' AND tenant_id <= '{b}' AND id > (SELECT gen_random_uuid())",
    "none of several": "tenant_id <> ALL ('{{{a}}}') AND id > (SELECT gen_random_uuid())",
    "rows": "ROW(tenant_id, id) >= ROW('{b}'::uuid, '{b}'::uuid) AND id > (SELECT gen_random_uuid())",
}
"""Conditions on ids, of which the last one tells whether those before it were met by anybody's row: it asks a query."""


@pytest.mark.attack(16)
@pytest.mark.parametrize("cost", ["0.0025", "0", "1e-307", "1e308"])
@pytest.mark.parametrize("shape", IDS)
async def test_no_comparison_of_ids_is_made_before_row_securitys(arena: Arena, shape: str, cost: str) -> None:
    assert await first_conditions(arena, shape, cost) == {"policy"}


async def test_the_order_of_conditions_would_tell_where_comparisons_are_cheap(arena: Arena) -> None:
    await arena.superuser.execute(
        "ALTER FUNCTION uuid_ge(uuid, uuid) COST 1; ALTER FUNCTION uuid_le(uuid, uuid) COST 1"
    )
    try:
        async with policy_at_a_price(arena.superuser, 20):
            found = await first_conditions(arena, "ranges", "0.0025")
    finally:
        await arena.superuser.execute(
            "ALTER FUNCTION uuid_ge(uuid, uuid) COST 20; ALTER FUNCTION uuid_le(uuid, uuid) COST 20"
        )
    assert "the attacker's" in found


_ASKED = r"(?:\(InitPlan \d+\)\.col1|\$\d+)"
"""Who the tenant is, in the words of PostgreSQL 18 or of those before."""


async def first_conditions(arena: Arena, shape: str, cost: str) -> set[str]:
    """Whose condition is asked first, of every table with a tenant."""
    words = {"a": to_uuid("org", arena.a.owner.organization_id), "b": to_uuid("org", arena.b.owner.organization_id)}
    found = set()
    async with arena.inside(arena.a, read_only=True) as transaction:
        await transaction.driver.execute(f"{PLANS['no index']}; SET LOCAL cpu_operator_cost = '{cost}'")
        for table in ("app.project", "app.membership", "app.invitation", "app.team"):
            statement = f"EXPLAIN (COSTS OFF) SELECT 1 FROM {table} WHERE {IDS[shape].format(**words)}"
            plan = await transaction.driver.fetch(statement)
            (asked,) = [row[0] for row in plan if "Filter: " in row[0]]
            policy = re.match(rf" *Filter: \(+(?:tenant_id = {_ASKED}|{_ASKED} = tenant_id)", asked)
            found.add("policy" if policy else "the attacker's")
    return found
