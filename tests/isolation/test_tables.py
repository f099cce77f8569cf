"""Every table, as the catalogue lists them: a tenant (a user) meets only its own rows, however it asks."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import msgspec
import pytest

from insula.core.catalogue.facts import read_catalogue
from insula.core.catalogue.tables import owner_columns
from insula.core.db import Driver
from insula.core.ids import to_uuid
from insula.core.tables import ISOLATION, TableClass
from tests.isolation.arena import Arena, Tenant
from tests.rows import insert, plausible

READS = (
    "SELECT {owner} FROM {table}",
    "TABLE {table}",
    "SELECT {owner} FROM {table} WHERE {owner} = '{b}'",
    "SELECT {owner} FROM {table} WHERE {owner} <> '{a}' OR true",
    "SELECT x.{owner}, y.{owner} FROM {table} x CROSS JOIN {table} y",
    "SELECT y.{owner} FROM (VALUES ('{b}'::uuid)) AS v (id) LEFT JOIN {table} y ON y.{owner} = v.id WHERE y.{owner} IS NOT NULL",
    "SELECT q.{owner} FROM (SELECT * FROM {table} OFFSET 0) AS q",
    "SELECT l.{owner} FROM {table} x, LATERAL (SELECT * FROM {table} y WHERE y.{owner} <> x.{owner}) AS l",
    "WITH c AS MATERIALIZED (SELECT * FROM {table}) SELECT {owner} FROM c",
    "WITH RECURSIVE r AS (SELECT {owner} FROM {table} UNION SELECT t.{owner} FROM {table} t, r) SELECT {owner} FROM r",
    "SELECT (SELECT max({owner}::text) FROM {table}), min({owner}::text) FROM {table}",
    "SELECT array_agg({owner}) OVER () FROM {table}",
    "SELECT {owner}, count(*) FROM {table} GROUP BY ROLLUP ({owner})",
    "SELECT {owner} FROM {table} UNION ALL SELECT {owner} FROM {table}",
    "SELECT {owner} FROM {table} EXCEPT SELECT '{a}'::uuid",
    "SELECT {owner} FROM {table} TABLESAMPLE BERNOULLI (100)",
    "SELECT {owner} FROM ONLY {table}",
    "SELECT {owner}, ctid, tableoid::regclass FROM {table} WHERE ctid IS NOT NULL",
    "SELECT to_jsonb(t) FROM {table} t",
    "SELECT query_to_xml('SELECT {owner} FROM {table}', true, false, '')::text",
    "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM {table}",
)
"""Whatever these answer, no value of the neighbour's is in it."""

WRITES = (
    "UPDATE {table} SET {owner} = '{b}'",
    "UPDATE {table} SET {changed} = {changed} WHERE {owner} = '{b}' RETURNING {owner}",
    "UPDATE {table} SET {changed} = {changed} RETURNING {owner}",
    "UPDATE {table} t SET {changed} = o.{changed} FROM {table} o WHERE o.{owner} <> t.{owner} RETURNING o.{owner}",
    "WITH u AS (UPDATE {table} SET {changed} = {changed} RETURNING *) SELECT {owner} FROM u",
    "SELECT {owner} FROM {table} FOR UPDATE",
    (
        "MERGE INTO {table} t USING (VALUES ('{b}'::uuid)) AS v (id) ON t.{owner} = v.id"
        " WHEN MATCHED THEN UPDATE SET {changed} = t.{changed}"
    ),
    "MERGE INTO {table} t USING (VALUES ('{b}'::uuid)) AS v (id) ON t.{owner} = v.id WHEN MATCHED THEN DELETE",
    "DELETE FROM {table} WHERE {owner} = '{b}' RETURNING {owner}",
    "DELETE FROM {table} t USING {table} o WHERE o.{owner} <> '{a}' RETURNING o.{owner}",
    "DELETE FROM {table} RETURNING {owner}",
    "TRUNCATE {table}",
)
"""Nor does any of these change a row of the neighbour's."""


class Shelf(msgspec.Struct, frozen=True):
    """A table with a row of each of two owners."""

    table: str
    owner_column: str
    a: UUID
    b: UUID
    changed: str
    """A column that requests may update, where there is one."""
    readable: bool
    """Whether requests may read it at all."""

    def shows(self, *, alone: bool) -> bool:
        """Whether its owner's rows are there: organizations' inside of them, a person's outside."""
        return (self.owner_column == "tenant_id") is not alone

    def aim(self, statement: str) -> str:
        return statement.format(table=self.table, owner=self.owner_column, a=self.a, b=self.b, changed=self.changed)


@pytest.fixture(scope="module")
async def tenants(arena: Arena) -> tuple[Tenant, Tenant]:
    return await arena.tenant(), await arena.tenant()


@pytest.fixture(scope="module")
async def shelves(arena: Arena, tenants: tuple[Tenant, Tenant]) -> AsyncIterator[list[Shelf]]:
    """Every tenant and user table, with rows of two owners in it."""
    async with arena.superuser.transaction():
        catalogue = await read_catalogue(arena.superuser)
        partitions = {table.name for table in catalogue.tables if table.partition}
        found = []
        for table, owner_column in owner_columns(catalogue).items():
            if table not in partitions:
                updatable = [g.column for g in catalogue.held("UPDATE") if g.table == table and g.column]
                a, b = (owner_of(tenant, owner_column) for tenant in tenants)
                readable = any(g.table == table and g.grantee == "app_rw" for g in catalogue.held("SELECT"))
                changed = updatable[0] if updatable else owner_column
                found.append(Shelf(table, owner_column, a, b, changed, readable))
        await arena.superuser.execute("SET LOCAL session_replication_role = replica")  # rows need not refer to anything
        for shelf in found:
            for owner in (shelf.a, shelf.b):
                if not await rows_of(arena.superuser, shelf, owner):
                    row = await plausible(arena.superuser, shelf.table, shelf.owner_column, owner)
                    await insert(arena.superuser, shelf.table, row)
    yield found


def owner_of(tenant: Tenant, owner_column: str) -> UUID:
    if owner_column == "tenant_id":
        return to_uuid("org", tenant.owner.organization_id)
    return to_uuid("usr", tenant.owner.person.id)


async def rows_of(superuser: asyncpg.Connection, shelf: Shelf, owner: UUID) -> list[str]:
    rows = await superuser.fetch(
        f"SELECT to_jsonb(t)::text AS row FROM {shelf.table} t WHERE {shelf.owner_column} = $1 ORDER BY 1", owner
    )
    return [row["row"] for row in rows]


async def told(driver: Driver, statement: str) -> str:
    """What a statement answers, an error included; nothing of it stays."""
    await driver.execute("SAVEPOINT before")
    try:
        return str([tuple(row) for row in await driver.fetch(statement)])
    except asyncpg.PostgresError as error:
        return f"{error!r} {error.detail}"
    finally:
        await driver.execute("ROLLBACK TO before")


async def test_both_owners_have_rows_everywhere(arena: Arena, shelves: list[Shelf]) -> None:
    assert {"app.organization", "app.project", "app.event", "app.user"} <= {shelf.table for shelf in shelves}
    for shelf in shelves:
        assert await rows_of(arena.superuser, shelf, shelf.a)
        assert await rows_of(arena.superuser, shelf, shelf.b)


@pytest.mark.parametrize("alone", [False, True])
async def test_an_owner_reads_only_its_own_rows(
    arena: Arena, shelves: list[Shelf], tenants: tuple[Tenant, Tenant], subtests: pytest.Subtests, *, alone: bool
) -> None:
    async with arena.inside(tenants[0], read_only=True, alone=alone) as transaction:
        for shelf in shelves:
            with subtests.test(shelf.table):
                if not shelf.readable:
                    assert "permission denied" in await told(transaction.driver, shelf.aim("SELECT * FROM {table}"))
                    continue
                mine = await transaction.driver.fetchval(f"SELECT count(*) FROM {shelf.table}")
                there = await rows_of(arena.superuser, shelf, shelf.a) if shelf.shows(alone=alone) else []
                assert mine == len(there)
                for statement in READS:
                    answer = await told(transaction.driver, shelf.aim(statement))
                    assert str(shelf.b) not in answer, (statement, answer)
                    assert tenants[1].word not in answer, (statement, answer)


async def test_a_broken_policy_would_be_seen(
    arena: Arena, shelves: list[Shelf], tenants: tuple[Tenant, Tenant]
) -> None:
    shelf = next(shelf for shelf in shelves if shelf.table == "app.project")
    await arena.superuser.execute("ALTER POLICY isolation ON app.project USING (true)")
    try:
        async with arena.inside(tenants[0], read_only=True) as transaction:
            for statement in READS[:3]:
                assert str(shelf.b) in await told(transaction.driver, shelf.aim(statement))
    finally:
        await arena.superuser.execute(f"ALTER POLICY isolation ON app.project USING ({ISOLATION})")


@pytest.mark.parametrize("alone", [False, True])
async def test_cursors_and_copies_hold_only_its_own_rows(
    arena: Arena, shelves: list[Shelf], tenants: tuple[Tenant, Tenant], subtests: pytest.Subtests, *, alone: bool
) -> None:
    async with arena.inside(tenants[0], read_only=True, alone=alone) as transaction:
        for shelf in (shelf for shelf in shelves if shelf.readable):
            mine = {shelf.a} if shelf.shows(alone=alone) else set()
            with subtests.test(shelf.table):
                query = shelf.aim("SELECT {owner} FROM {table}")
                await transaction.driver.execute(f"DECLARE rows SCROLL CURSOR FOR {query}")
                fetched = {row[0] for row in await transaction.driver.fetch("FETCH ALL FROM rows")}
                await transaction.driver.execute("CLOSE rows")
                assert fetched == mine
                copied: list[bytes] = []

                async def keep(data: bytes, into: list[bytes] = copied) -> None:
                    into.append(data)

                await transaction.driver.copy_from_query(query, output=keep)
                assert set(b"".join(copied).decode().split()) == {str(each) for each in mine}


@pytest.mark.parametrize("alone", [False, True])
async def test_an_owner_changes_only_its_own_rows(
    arena: Arena, shelves: list[Shelf], tenants: tuple[Tenant, Tenant], subtests: pytest.Subtests, *, alone: bool
) -> None:
    for shelf in shelves:
        with subtests.test(shelf.table):
            kept = [shelf.b] if shelf.shows(alone=alone) else [shelf.a, shelf.b]
            before = [await rows_of(arena.superuser, shelf, owner) for owner in kept]
            for statement in WRITES:
                async with arena.inside(tenants[0], read_only=False, alone=alone) as transaction:
                    answer = await told(transaction.driver, shelf.aim(statement))
                    assert str(shelf.b) not in answer.replace(shelf.aim(statement), ""), (statement, answer)
            assert [await rows_of(arena.superuser, shelf, owner) for owner in kept] == before


async def test_nothing_can_be_planted_with_the_neighbour(
    arena: Arena, shelves: list[Shelf], tenants: tuple[Tenant, Tenant], subtests: pytest.Subtests
) -> None:
    for shelf in shelves:
        with subtests.test(shelf.table):
            foreign = await plausible(arena.superuser, shelf.table, shelf.owner_column, shelf.b)
            before = await rows_of(arena.superuser, shelf, shelf.b)
            for ending in ("", "ON CONFLICT DO NOTHING", "RETURNING *"):
                async with arena.inside(tenants[0], read_only=False) as transaction:
                    with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
                        await insert(transaction.driver, shelf.table, foreign, ending)
                    assert refusal.value.detail is None
            assert await rows_of(arena.superuser, shelf, shelf.b) == before


async def test_its_own_rows_can_be_planted(arena: Arena, shelves: list[Shelf], tenants: tuple[Tenant, Tenant]) -> None:
    """The refusals above come from isolation, not from rows that nobody could insert."""
    planted = []
    for shelf in shelves:
        own = await plausible(arena.superuser, shelf.table, shelf.owner_column, shelf.a)
        async with arena.inside(tenants[0], read_only=False) as transaction:
            try:
                await insert(transaction.driver, shelf.table, own)
            except asyncpg.InsufficientPrivilegeError as refusal:
                assert "permission denied for table" in str(refusal)
                continue
            except asyncpg.ForeignKeyViolationError:
                pass
            planted.append(shelf.table)
    assert {"app.project", "app.team", "app.event", "app.idempotency"} <= set(planted)


async def test_without_a_context_there_is_nothing(
    arena: Arena, shelves: list[Shelf], subtests: pytest.Subtests
) -> None:
    for shelf in shelves:
        with subtests.test(shelf.table):
            row = await plausible(arena.superuser, shelf.table, shelf.owner_column, shelf.a)
            async with arena.database.transaction() as transaction:
                if shelf.readable:
                    assert await transaction.driver.fetchval(f"SELECT count(*) FROM {shelf.table}") == 0
                for planted in (row, {name: value for name, value in row.items() if name != shelf.owner_column}):
                    await transaction.driver.execute("SAVEPOINT before")
                    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.NotNullViolationError)):
                        await insert(transaction.driver, shelf.table, planted)
                    await transaction.driver.execute("ROLLBACK TO before")


async def test_without_a_context_nobody_can_ask_for_work(arena: Arena) -> None:
    async with arena.database.transaction() as transaction:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await transaction.driver.execute(
                "INSERT INTO app.outbox (id, task, payload) VALUES (gen_random_uuid(), 'x', '{}')"
            )


async def test_what_is_not_the_tenants_cannot_be_read_at_all(
    arena: Arena, tenants: tuple[Tenant, Tenant], subtests: pytest.Subtests
) -> None:
    async with arena.superuser.transaction():
        catalogue = await read_catalogue(arena.superuser)
    closed = {*catalogue.of_class(TableClass.REGISTRY), *catalogue.of_class(TableClass.PLATFORM)}
    closed |= {table.name for table in catalogue.tables if table.partition}
    async with arena.inside(tenants[0], read_only=True) as transaction:
        for table in sorted(closed):
            with subtests.test(table):
                assert "permission denied" in await told(transaction.driver, f"SELECT count(*) FROM {table}")
