"""What each login can do by itself, outside of any request: read nobody's rows, and leave the schema as it is."""

from urllib.parse import urlsplit

import asyncpg
import pytest

from insula.core.ids import to_uuid
from insula.core.tables import TableClass
from tests.conftest import address
from tests.isolation.arena import Arena

LOGINS = ("app_rw", "app_identity", "app_platform")

SCHEMA_CHANGES = (
    "DROP OWNED BY CURRENT_USER",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "REVOKE SELECT ON app.project FROM app_rw",
    "CREATE TEMPORARY TABLE t (x integer)",
    "SELECT 1 AS x INTO TEMPORARY t",
    "DROP EVENT TRIGGER logins_change_no_schema",
)


async def connect(arena: Arena, login: str) -> asyncpg.Connection:
    settings = arena.world.settings
    return await asyncpg.connect(address(settings.database_url, login, urlsplit(settings.database_url).path[1:]))


@pytest.mark.attack(15)
@pytest.mark.parametrize("login", LOGINS)
async def test_no_login_changes_the_schema_not_even_its_own_part_of_it(arena: Arena, login: str) -> None:
    connection = await connect(arena, login)
    try:
        for statement in SCHEMA_CHANGES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=f"{login} changes no schema|must be owner"):
                await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("login", ["app_identity", "app_platform"])
async def test_no_login_but_the_requests_reads_a_tenants_or_a_persons_table(arena: Arena, login: str) -> None:
    owned = await arena.superuser.fetch(
        "SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0"
        " WHERE c.relnamespace = 'app'::regnamespace AND d.description = ANY ($1)",
        [f"class: {kind}" for kind in (TableClass.TENANT, TableClass.USER)],
    )
    tables = {row[0] for row in owned}
    assert len(tables) >= 8
    connection = await connect(arena, login)
    try:
        for table in tables:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT 1 FROM {table}")
    finally:
        await connection.close()


@pytest.mark.attack(16)
@pytest.mark.parametrize("login", LOGINS)
async def test_no_login_reads_how_much_another_backend_writes(arena: Arena, login: str) -> None:
    told = await arena.superuser.fetch("SELECT proname FROM pg_proc WHERE proname ~ '^pg_stat_get_backend_(wal|io)$'")
    newest = arena.superuser.get_server_version() >= (18,)
    assert len(told) == (2 if newest else 0)
    connection = await connect(arena, login)
    try:
        for (function,) in told:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT {function}(pid) FROM pg_stat_activity")
    finally:
        await connection.close()


@pytest.mark.parametrize("age", ["-10 years", "-1200 months 36001 days", "0"])
async def test_housekeeping_ends_nothing_that_lives_whatever_age_it_is_told(arena: Arena, age: str) -> None:
    alive = "SELECT count(*) FROM app.credential WHERE expires_at > now() AND revoked_at IS NULL"
    before = await arena.superuser.fetchval(alive)
    happened = await arena.superuser.fetchval("SELECT count(*) FROM app.account_event")
    assert before > 0
    assert happened > 0
    ours = arena.b.owner
    project = (await ours.client.post(ours.url("/projects"), json={"name": "Precious", "key": "PRECIOUS"})).json()
    gone = await ours.client.delete(ours.url(f"/projects/{project['id']}"), headers={"if-match": '"1"'})
    assert gone.status_code == 204
    connection = await connect(arena, "app_platform")
    try:
        async with connection.transaction():
            for door in (
                "purge_credentials",
                "purge_invitations",
                "purge_sign_ups",
                "purge_deleted",
                "purge_account_events",
            ):
                await connection.execute(f"SELECT app.{door}(interval '{age}', 100000)")
    finally:
        await connection.close()
    assert await arena.superuser.fetchval(alive) == before
    assert await arena.superuser.fetchval("SELECT count(*) FROM app.account_event") == happened
    back = await ours.client.post(ours.url(f"/deleted-projects/{project['id']}/restoration"))
    assert back.status_code == 200, back.text
    await arena.superuser.execute("DELETE FROM app.project WHERE id = $1", to_uuid("prj", project["id"]))
    for tenant in (arena.a, arena.b):
        assert await arena.works_for(tenant)


async def test_housekeeping_replaces_no_key(arena: Arena) -> None:
    connection = await connect(arena, "app_platform")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO app.key (purpose, active_from, wrapped, master)"
                " SELECT purpose, active_from + interval '1 microsecond', 'x', master FROM app.key"
            )
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("SELECT app.add_first_key('bogus', 'nobody', 'x')")
        keys = await connection.fetch("SELECT * FROM app.key ORDER BY 1, 2")
        await connection.execute("SELECT app.add_first_key(purpose, 'nobody', 'x') FROM app.key")
        assert await connection.fetch("SELECT * FROM app.key ORDER BY 1, 2") == keys
    finally:
        await connection.close()


@pytest.mark.parametrize("login", LOGINS)
async def test_no_login_compiles_what_it_asks(arena: Arena, login: str) -> None:
    """Where PostgreSQL can, it takes fifty milliseconds each time, as soon as anything is sorted against its will."""
    connection = await connect(arena, login)
    try:
        assert await connection.fetchval("SHOW jit") == "off"
    finally:
        await connection.close()
