"""What isolation costs inside of Postgres: row security on a large table, the door, the check at BEGIN."""

import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import asyncpg

from insula.core.db import BEGIN
from insula.core.ids import to_uuid
from insula.core.queries import Query
from insula.features.projects.repository import PROJECTS
from tests.benchmarks.harness import DATABASE, Bench, repeated
from tests.factories import Member

_TENANTS: Final = 1000
_FEW_TENANTS: Final = 20
_EACH: Final = 1000
_PLANT: Final = """
INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)
SELECT t.tenant, ('01900000-0000-7000-8000-' || lpad(to_hex(n * 1000 + t.place), 12, '0'))::uuid,
       'Project ' || n, 'project ' || n, 'P' || n, 'active', '{}', now(), now() + n * interval '1 ms', 1
  FROM generate_series(1, $2) AS n, unnest($1::uuid[]) WITH ORDINALITY AS t (tenant, place)
"""
_WITHOUT_ROW_SECURITY: Final = """
CREATE ROLE bench_plain LOGIN BYPASSRLS PASSWORD 'bench_plain';
GRANT CONNECT ON DATABASE bench TO bench_plain; GRANT USAGE ON SCHEMA app TO bench_plain; GRANT SELECT ON app.project TO bench_plain;
"""

Action = Callable[[], Awaitable[Any]]


async def run(bench: Bench, scale: int) -> bool:
    owner = await bench.world.owner()
    await _plant(bench.world.superuser, owner, _TENANTS if scale else _FEW_TENANTS)
    async with AsyncExitStack() as connections:

        async def connect(login: str) -> asyncpg.Connection:
            host = bench.admin.rsplit("@", 1)[1].split("/", 1)[0]
            connection = await asyncpg.connect(f"postgresql://{login}:{login}@{host}/{DATABASE}")
            connections.push_async_callback(connection.close)
            return connection

        met = await _row_security(await connect("app_rw"), await connect("bench_plain"), bench, owner, scale)
        await _door(await connect("app_rw"), bench, owner, scale)
        await _untouched(await connect("app_rw"), scale)
    await bench.world.superuser.execute("DROP OWNED BY bench_plain; DROP ROLE bench_plain")  # no API would start
    return met


async def _plant(superuser: asyncpg.Connection, owner: Member, count: int) -> None:
    """A million projects of a thousand tenants, mixed as they would have come in."""
    strangers = await superuser.fetch("SELECT gen_random_uuid() FROM generate_series(2, $1)", count)
    tenants = [to_uuid("org", owner.organization_id), *(row[0] for row in strangers)]
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")  # their organizations do not matter
        await superuser.execute(_PLANT, tenants, _EACH)
    await superuser.execute("VACUUM ANALYZE app.project")
    await superuser.execute(_WITHOUT_ROW_SECURITY)


async def _row_security(
    secured: asyncpg.Connection, plain: asyncpg.Connection, bench: Bench, owner: Member, scale: int
) -> bool:
    page: Query[Any] = PROJECTS._compile("-created_at", frozenset(), False, 21)
    explicit = page.sql.replace("WHERE", "WHERE app.project.tenant_id = $1 AND", 1)
    tenant = to_uuid("org", owner.organization_id)
    await secured.execute(BEGIN)
    await _enter(secured, bench, owner)
    assert await secured.fetch(page.sql) == await plain.fetch(explicit, tenant)
    plan = "\n".join(row[0] for row in await secured.fetch(f"EXPLAIN {page.sql}"))
    assert "Index Scan" in plan, plan
    assert "Seq Scan" not in plan, plan
    times = await _alternate(
        {
            "row security": lambda: secured.fetch(page.sql),
            "explicit predicate": lambda: plain.fetch(explicit, tenant),
        },
        rounds=repeated(100, scale),
    )
    await secured.execute("ROLLBACK")
    pairs = zip(times["row security"], times["explicit predicate"], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"\nPage of {(_TENANTS if scale else _FEW_TENANTS) * _EACH:,} rows, one connection\n{plan}")
    _print(times)
    print(f"  row security costs {ratio:.2f}x (goal 1.1x) {'ok' if ratio <= 1.1 else 'MISSED'}")
    return ratio <= 1.1


async def _door(connection: asyncpg.Connection, bench: Bench, owner: Member, scale: int) -> None:
    async def bare() -> None:
        await connection.execute("BEGIN")
        await connection.execute("COMMIT")

    async def entered() -> None:
        await connection.execute(BEGIN)
        await _enter(connection, bench, owner)
        await connection.execute("COMMIT")

    async def asked() -> None:
        await connection.execute("BEGIN")
        await connection.fetchval("SELECT 1")
        await connection.execute("COMMIT")

    print("\nThe door: credential, membership, organization, the signed context")
    _print(
        await _alternate(
            {"BEGIN, COMMIT": bare, "BEGIN, SELECT 1, COMMIT": asked, "BEGIN, app.enter, COMMIT": entered},
            rounds=repeated(20, scale),
        )
    )


async def _untouched(connection: asyncpg.Connection, scale: int) -> None:
    async def bare() -> None:
        await connection.execute("BEGIN")
        await connection.execute("COMMIT")

    async def checked() -> None:
        await connection.execute(BEGIN)
        await connection.execute("COMMIT")

    for cached in (0, 100):
        kept = [await connection.prepare(f"SELECT {number}") for number in range(cached)]
        print(f"\nThe check that a connection is untouched, {len(kept)} cached statements")
        _print(await _alternate({"BEGIN, COMMIT": bare, "checked BEGIN, COMMIT": checked}, rounds=repeated(20, scale)))


async def _enter(connection: asyncpg.Connection, bench: Bench, owner: Member) -> None:
    secret = bench.world.digest(owner.person.token)
    found = await connection.fetchrow("SELECT * FROM app.enter($1, $2)", secret, to_uuid("org", owner.organization_id))
    assert found["verdict"] == "admitted"


async def _alternate(actions: dict[str, Action], *, rounds: int, size: int = 50) -> dict[str, list[float]]:
    """Microseconds of each, a sample per alternating round."""
    samples: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            started = time.perf_counter()
            for _ in range(size):
                await action()
            samples[name].append((time.perf_counter() - started) / size * 1e6)
    return samples


def _print(times: dict[str, list[float]]) -> None:
    for name, found in times.items():
        print(f"  {name:<28}{statistics.median(found):>10.0f} us")
