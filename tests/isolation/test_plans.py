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
from insula.core.listing import Listing, first_id_of
from insula.product import FEATURES
from tests.isolation.arena import Arena
from tests.isolation.conftest import opened

SPECIAL: Final = {
    ("membership", "status"): "'active'",
    ("project", "status"): "'active'",
    ("project", "deleted_at"): "CASE n / 10 % 50 WHEN 0 THEN now() END",
    ("invitation", "status"): "'declined'",
}
TABLES: Final = ("membership", "team", "team_member", "project", "invitation", "event")
TENANTS: Final = 100
"""The one that asks has a tenth of all rows; the others share the rest."""
COLUMNS: Final = """
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_schema = 'app' AND table_name = $1 AND column_name NOT IN ('tenant_id', 'id') AND is_generated = 'NEVER'
 ORDER BY ordinal_position
"""
VALUES: Final = {
    "uuid": "md5(n::text)::uuid",
    "text": "'word ' || n",
    "jsonb": "'{}'",
    "timestamp with time zone": "now() + n * interval '1 ms'",
    "integer": "1",
    "smallint": "1",
}
ASKED: Final = {"since": datetime(2020, 1, 1, tzinfo=UTC), "until": datetime(2100, 1, 1, tzinfo=UTC)}
NOT_OF_A_TENANT: Final = (
    "my_organizations()",
    "my_invitations()",
    "my_sessions()",
    "app.outbox",
    "app.operator_action",
)


def lists() -> Iterator[tuple[str, Listing[Any]]]:
    """Every list of the product that reads a tenant's tables, by its name."""
    found: dict[str, Listing[Any]] = {}
    for feature in FEATURES:
        for controller in feature.controllers:
            for handler in vars(controller).values():
                listing = getattr(handler, "opt", {}).get("listing")
                if listing is not None and not any(name in str(listing._statement) for name in NOT_OF_A_TENANT):
                    found[handler.fn.__name__] = listing
    yield from sorted(found.items())


def questions() -> Iterator[Any]:
    """Each order, alone and with each filter, on the first page and on a later one."""
    for name, listing in lists():
        required = frozenset(listing.filters) if name in REQUIRED else frozenset()
        for sort in listing.offered:
            for active in [required, *(frozenset({one}) for one in listing.filters if not required)]:
                for continued in (False, True):
                    words = [name, sort, *sorted(active), *(["continued"] if continued else [])]
                    yield pytest.param(listing, sort, active, continued, id=" ".join(words))


REQUIRED: Final = {"list_team_members", "list_member_teams"}
"""Their filter is part of the path."""


@pytest.fixture(scope="module")
async def crowded(addresses: dict[str, str], redis_url: str, pytestconfig: pytest.Config) -> AsyncIterator[Arena]:
    """Many rows of many tenants in every table that lists read."""
    name = f"insula_plans_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    rows = int(pytestconfig.getoption("--plan-rows"))
    async with opened(addresses["admin"], name, redis_url=redis_url) as arena:
        async with arena.superuser.transaction():
            await arena.superuser.execute(
                "SET LOCAL session_replication_role = replica"
            )  # what they refer to is no matter
            for table in TABLES:
                await plant(arena.superuser, table, arena.a.id, rows)
        for table in TABLES:
            await arena.superuser.execute(f"ANALYZE app.{table}")
        yield arena


async def plant(superuser: asyncpg.Connection, table: str, tenant: str, rows: int) -> None:
    columns = [(row[0], row[1]) for row in await superuser.fetch(COLUMNS, table)]
    values = [SPECIAL.get((table, name)) or VALUES[kind] for name, kind in columns]
    await superuser.execute(
        f"INSERT INTO app.{table} (tenant_id, id, {', '.join(name for name, _ in columns)})"
        " SELECT CASE n % 10 WHEN 0 THEN $1::uuid ELSE lpad(to_hex(n % $3), 32, '0')::uuid END,"
        " (lpad(to_hex((extract(epoch FROM now() + n % 4 * interval '30 days') * 1000)::bigint), 12, '0')"
        " || '7' || lpad(to_hex(n), 19, '0'))::uuid,"
        f" {', '.join(values)} FROM generate_series(1, $2) AS n",
        tenant,
        rows,
        TENANTS,
    )


def prefix_of(listing: Listing[Any], name: str) -> str | None:
    return getattr(listing.filters[name].column.type, "prefix", None)


def last_row(listing: Listing[Any], sort: str) -> list[Any]:
    """What the cursor of a page before says."""
    column = listing.sorts[sort.removeprefix("-")]
    value = datetime.now(UTC).isoformat() if isinstance(column.type, sa.DateTime) else "word 5"
    return [to_text(listing._key.type.prefix, first_id_of(datetime.now(UTC) + timedelta(days=45))), value]


@pytest.mark.parametrize(("listing", "sort", "active", "continued"), list(questions()))
async def test_a_list_is_an_index_scan(
    crowded: Arena, listing: Listing[Any], sort: str, active: frozenset[str], continued: bool
) -> None:
    query = listing._query(sort, active, continued, 21)
    binds: dict[str, Any] = {}
    for name in active:
        asked = ASKED.get(name, to_text(prefix, uuid4()) if (prefix := prefix_of(listing, name)) else "word 500")
        binds |= listing.filters[name].binds(name, asked)
    if continued:
        binds |= listing._after(sort, last_row(listing, sort))
    async with crowded.inside(crowded.a, read_only=True) as transaction:
        plan = "\n".join(
            row[0] for row in await transaction.driver.fetch(f"EXPLAIN {query.sql}", *query._values(binds))
        )
    assert re.search(r"Index (Only )?Scan", plan), plan
    assert "Seq Scan" not in plan, plan
    if not active or active in ({"since"}, {"until"}):
        assert all(int(rows) <= 100 for rows in re.findall(r"Sort  \(cost=\S+ rows=(\d+)", plan)), plan
    assert re.search(r"Index Cond: .*\(tenant_id = (\$0|\(InitPlan 1\))", plan), plan
