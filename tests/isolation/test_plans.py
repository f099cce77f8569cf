"""Under row security every list, in every order and with every filter, reads an index and never a table."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
import sqlalchemy as sa

from insula.core.ids import to_text
from insula.core.listing import Filter, Listing, Prefix, Since, first_id_of
from tests.isolation.arena import Arena, Tenant
from tests.isolation.conftest import opened
from tests.resources import OWNED_TABLES, ListRoute, list_routes
from tests.rows import allowed

SPECIAL: Final = {("invitation", "status"): "'declined'"}
"""What a column holds, where not just any value will do: nobody is invited twice at a time."""
FOUND_AT_ONCE: Final = frozenset({"key"})
"""Unique: behind a cursor too there is one row to look at."""
TENANTS: Final = 100
"""The one that asks has a tenth of all rows; the others share the rest."""
COLUMNS: Final = """
SELECT a.attname, format_type(a.atttypid, NULL),
       (SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k
         WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum])
  FROM pg_attribute a
 WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
   AND a.attname NOT IN ($2, 'id')
 ORDER BY a.attnum
"""
CHECKS: Final = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
 WHERE contype = 'c' AND conrelid = $1::text::regclass
"""
VALUES: Final = {
    "uuid": "md5(n::text)::uuid",
    "text": "'word ' || n",
    "text[]": "'{}'",
    "bytea": "''",
    "jsonb": "'{}'",
    "boolean": "n % 2 = 0",
    "date": "current_date",
    "timestamp with time zone": "now() + n * interval '1 ms'",
    "bigint": "1",
    "integer": "1",
    "smallint": "1",
}
DELETED: Final = "CASE n / 10 % 50 WHEN 0 THEN now() END"
ASKED: Final = {"since": datetime(2020, 1, 1, tzinfo=UTC), "until": datetime(2100, 1, 1, tzinfo=UTC)}


def lists() -> list[ListRoute]:
    """Every list of the product that reads tables of tenants or people, by its name."""
    return sorted((found for found in list_routes() if found.tables), key=lambda found: found.name)


def questions() -> Iterator[Any]:
    """Each order, alone and with each filter, on the first page and on a later one."""
    for found in lists():
        listing = found.listing
        assert listing is not None
        required = frozenset(listing.filters) & frozenset(found.parameters)
        for sort in listing.offered:
            for active in [required, *(required | {one} for one in listing.filters if one not in required)]:
                for continued in (False, True):
                    words = [found.name, sort, *sorted(active), *(["continued"] if continued else [])]
                    yield pytest.param(found, sort, active, continued, id=" ".join(words))


@pytest.fixture(scope="module")
async def crowded(addresses: dict[str, str], redis_url: str, pytestconfig: pytest.Config) -> AsyncIterator[Arena]:
    """Many rows of many tenants, or people, in every table that lists read."""
    name = f"insula_plans_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    rows = int(pytestconfig.getoption("--plan-rows"))
    tables = dict.fromkeys(table for found in lists() for table in found.tables)
    async with opened(addresses["admin"], name, redis_url=redis_url) as arena:
        async with arena.superuser.transaction():
            await arena.superuser.execute(
                "SET LOCAL session_replication_role = replica"
            )  # what they refer to is no matter
            for table in tables:
                await plant(arena.superuser, table, arena.a, rows)
        for table in tables:
            await arena.superuser.execute(f"ANALYZE {table.fullname}")
        yield arena


async def plant(superuser: asyncpg.Connection, table: sa.Table, tenant: Tenant, rows: int) -> None:
    owner = OWNED_TABLES[table]
    columns = [tuple(row) for row in await superuser.fetch(COLUMNS, table.fullname, owner)]
    values = [value(table, *column) for column in columns]
    for check in await superuser.fetch(CHECKS, table.fullname):  # no plan depends on them, and our words may break them
        await superuser.execute(check[0])
    await superuser.execute(
        f"INSERT INTO {table.fullname} ({owner}, id, {', '.join(column[0] for column in columns)})"
        " SELECT CASE n % 10 WHEN 0 THEN $1::uuid ELSE lpad(to_hex(n % $3), 32, '0')::uuid END,"
        " (lpad(to_hex((extract(epoch FROM now() + n % 4 * interval '30 days') * 1000)::bigint), 12, '0')"
        " || '7' || lpad(to_hex(n), 19, '0'))::uuid,"
        f" {', '.join(values)} FROM generate_series(1, $2) AS n",
        tenant.id if owner == "tenant_id" else tenant.person,
        rows,
        TENANTS,
    )


def value(table: sa.Table, name: str, kind: str, checks: str | None) -> str:
    """What row ``n`` holds in a column, in SQL."""
    if special := SPECIAL.get((table.name, name)):
        return special
    if name == "deleted_at":
        return DELETED
    word = allowed(checks or "")
    return f"'{word}'" if word else VALUES[kind]


def last_row(listing: Listing[Any], sort: str) -> list[Any]:
    """What the cursor of a page before says."""
    column = listing.sorts[sort.removeprefix("-")]
    last = datetime.now(UTC).isoformat() if isinstance(column.type, sa.DateTime) else sample(column, "word 5")
    return [to_text(listing._key.type.prefix, first_id_of(datetime.now(UTC) + timedelta(days=45))), last]


def sample(column: Any, word: str) -> Any:
    """Something to ask for in a column."""
    if isinstance(column.type, sa.Boolean | sa.Integer):
        return column.type.python_type(1)
    prefix = getattr(column.type, "prefix", None)
    return to_text(prefix, uuid4()) if prefix else word


def walked(listing: Listing[Any], sort: str, active: frozenset[str], continued: bool) -> set[str]:
    """The columns by which an index finds the rows, beside whose they are."""
    column, key = listing.sorts[sort.removeprefix("-")], listing._key
    filters = [listing.filters[name] for name in active]
    searched = {one.column.key for one in filters if isinstance(one, Prefix) and one.column is column}
    equal = {one.column.key for one in filters if type(one) is Filter and column is key}
    between = {key.key for one in filters if isinstance(one, Since)} if column is key else set()
    return searched | equal | between | ({column.key} if continued and not equal & FOUND_AT_ONCE else set())


@pytest.mark.parametrize(("found", "sort", "active", "continued"), list(questions()))
async def test_a_list_is_an_index_scan(
    crowded: Arena, found: ListRoute, sort: str, active: frozenset[str], continued: bool
) -> None:
    listing, owner = found.listing, OWNED_TABLES[found.tables[0]]
    assert listing is not None
    question = (listing, sort, active, continued)
    query = listing._query(*question[1:], 21)
    binds: dict[str, Any] = {}
    for name in active:
        asked = ASKED.get(name) or sample(listing.filters[name].column, "word 500")
        binds |= listing.filters[name].binds(name, asked)
    if continued:
        binds |= listing._after(sort, last_row(listing, sort))
    async with crowded.inside(crowded.a, read_only=True, alone=owner == "user_id") as transaction:
        plan = "\n".join(
            row[0] for row in await transaction.driver.fetch(f"EXPLAIN {query.sql}", *query._values(binds))
        )
    assert "Seq Scan" not in plan, plan
    assert all(int(rows) <= 100 for rows in re.findall(r"Sort  \(cost=\S+ rows=(\d+)", plan)), plan
    conditions = re.findall(rf"Index Cond: (.*\({owner} = (?:\$0|\(InitPlan 1\)).*)", plan)
    wanted = [rf"\b{column}\)?(?:::text)? (?:OPERATOR\(app\.#[<>=]+\)|[<>=]+) " for column in walked(*question)]
    assert conditions, plan
    assert all(any(re.search(one, condition) for condition in conditions) for one in wanted), (wanted, plan)
