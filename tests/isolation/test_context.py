"""The signed context: what it is made of, and how long it lasts."""

import hmac
from datetime import UTC, datetime, timedelta

from insula.core.ids import to_uuid
from tests.isolation.arena import Arena

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


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
