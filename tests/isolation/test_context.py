"""The signed context: what it is made of, and how long it lasts."""

import hmac
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from insula.core.ids import to_uuid
from tests.isolation.arena import Arena

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

TRAPS = """
CREATE SCHEMA trap;
DO $do$
DECLARE
    f record;
    kind text;
BEGIN
    FOR f IN SELECT p.oid::regprocedure AS signature, p.prorettype::regtype AS answer FROM pg_proc AS p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proname IN (
                    'decode', 'encode', 'current_setting', 'substr', 'sha256', 'timestamptz_send',
                    'transaction_timestamp', 'int4send', 'pg_backend_pid')
    LOOP
        EXECUTE format('CREATE FUNCTION trap.%s RETURNS %s LANGUAGE plpgsql AS %L',
                       f.signature, f.answer, 'BEGIN RAISE $x$sprung$x$; END');
    END LOOP;
    FOREACH kind IN ARRAY ARRAY['bytea', 'text', 'uuid', 'int4'] LOOP
        EXECUTE format('CREATE FUNCTION trap.equal(pg_catalog.%1$s, pg_catalog.%1$s) RETURNS boolean LANGUAGE plpgsql AS %2$L;'
                       ' CREATE FUNCTION trap.joined(pg_catalog.%1$s, pg_catalog.%1$s) RETURNS pg_catalog.%1$s LANGUAGE plpgsql AS %2$L;'
                       ' CREATE OPERATOR trap.= (FUNCTION = trap.equal, LEFTARG = pg_catalog.%1$s, RIGHTARG = pg_catalog.%1$s);'
                       ' CREATE OPERATOR trap.|| (FUNCTION = trap.joined, LEFTARG = pg_catalog.%1$s, RIGHTARG = pg_catalog.%1$s)',
                       kind, 'BEGIN RAISE $x$sprung$x$; END');
    END LOOP;
END $do$;
CREATE DOMAIN trap.bytea AS pg_catalog.date;
CREATE DOMAIN trap.uuid AS pg_catalog.date;
CREATE FUNCTION trap.trusting() RETURNS pg_catalog.bytea LANGUAGE plpgsql AS $$ BEGIN RETURN sha256('x'); END $$;
GRANT USAGE ON SCHEMA trap TO app_rw;
"""


@pytest.fixture
async def trap(arena: Arena) -> AsyncIterator[None]:
    """All that the context's functions use exists a second time, and fails where it is called."""
    await arena.superuser.execute(TRAPS)
    yield
    await arena.superuser.execute("DROP SCHEMA trap CASCADE")


async def test_the_servers_hmac_is_pythons(arena: Arena) -> None:
    key = bytes(byte ^ 0x36 for byte in await arena.superuser.fetchval("SELECT ipad FROM app.door_key"))
    assert bytes(byte ^ 0x5C for byte in key) == await arena.superuser.fetchval("SELECT opad FROM app.door_key")
    for tenant in (arena.a, arena.b):
        async with arena.inside(tenant, read_only=True) as transaction:
            context, started, pid = await transaction.driver.fetchrow(
                "SELECT current_setting('app.context'), transaction_timestamp(), pg_backend_pid()"
            )
        body, mac = bytes.fromhex(context)[:32], bytes.fromhex(context)[32:]
        assert body == to_uuid("org", tenant.owner.organization_id).bytes + to_uuid("usr", tenant.owner.person.id).bytes
        instant = ((started - EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)
        assert mac == hmac.digest(key, body + instant + pid.to_bytes(4, "big"), "sha256")


async def test_a_context_ends_with_its_transaction(arena: Arena) -> None:
    async with arena.inside(arena.a, read_only=True) as transaction:
        driver = transaction.driver
        await driver.execute("COMMIT")
        transaction.settled = True
        assert await driver.fetchval("SELECT app.tenant_id()") is None
        assert await driver.fetchval("SELECT current_setting('app.context', true)") == ""


async def test_a_context_set_for_the_session_is_gone_at_the_next_begin(arena: Arena) -> None:
    async with arena.inside(arena.a, read_only=True) as transaction:
        await transaction.driver.execute(
            "SELECT set_config('app.context', current_setting('app.context'), false); COMMIT"
        )
        transaction.settled = True
    async with arena.database.transaction(read_only=True) as transaction:
        assert await transaction.driver.fetchval("SELECT app.tenant_id()") is None


@pytest.mark.parametrize("path", ["trap, pg_catalog", "trap", "pg_temp, trap"])
async def test_no_search_path_changes_what_the_context_says(arena: Arena, trap: None, path: str) -> None:
    for tenant in (arena.a, arena.b):
        async with arena.inside(tenant, read_only=True) as transaction:
            await transaction.driver.execute(f"SET LOCAL search_path = {path}")
            told = await transaction.driver.fetchrow("SELECT app.tenant_id(), app.user_id()")
            assert told[0] == to_uuid("org", tenant.owner.organization_id)
            assert told[1] == to_uuid("usr", tenant.owner.person.id)
    async with arena.inside(arena.a, read_only=True) as transaction:
        await transaction.driver.execute("SET LOCAL search_path = trap, pg_catalog")
        with pytest.raises(asyncpg.RaiseError, match="sprung"):
            await transaction.driver.fetchval("SELECT trap.trusting()")


@pytest.mark.parametrize("function", ["tenant_id", "user_id"])
async def test_what_sets_no_search_path_names_every_schema(arena: Arena, function: str) -> None:
    text = await arena.superuser.fetchval("SELECT prosrc FROM pg_proc WHERE oid = $1::text::regproc", f"app.{function}")
    bare = re.sub(r"'[^']*'|:=|USING ERRCODE =|\bOPERATOR\(pg_catalog\.[^)]+\)|\b(app|pg_catalog|k)\.\w+", " ", text)
    assert set(re.findall(r"[a-z]\w*", bare)) <= {"context", "inner_pad", "outer_pad", "k", "true"}
    assert set(re.findall(r"[^\w\s]", bare)) <= set("(),;:")
