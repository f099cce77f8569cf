"""The inventory that the program compares its database with is that of its migrations, and notices every change."""

import asyncpg
import pytest

from insula.core.catalogue import check_catalogue
from insula.core.catalogue.inventory import read_inventory
from insula.schema import INVENTORY, RELEASE
from tests.conftest import TEMPLATE
from tests.migrations.diagram import DIAGRAM, drawn


async def inventory(connection: asyncpg.Connection) -> list[str]:
    async with connection.transaction():
        await connection.execute("SET LOCAL search_path = pg_catalog")
        return await read_inventory(connection)


async def test_the_file_is_the_inventory_of_the_migrations(
    addresses: dict[str, str], pytestconfig: pytest.Config
) -> None:
    connection = await asyncpg.connect(addresses["admin"], database=TEMPLATE)
    try:
        found = await inventory(connection)
    finally:
        await connection.close()
    if pytestconfig.getoption("--write-golden"):
        INVENTORY.write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
    assert INVENTORY.read_text(encoding="utf-8").splitlines() == found, (
        "after a migration: ./insula test tests/migrations/test_inventory.py --write-golden"
    )


async def test_the_diagram_is_that_of_the_migrations(addresses: dict[str, str], pytestconfig: pytest.Config) -> None:
    connection = await asyncpg.connect(addresses["admin"], database=TEMPLATE)
    try:
        text = await drawn(connection)
    finally:
        await connection.close()
    if pytestconfig.getoption("--write-golden"):
        DIAGRAM.write_text(text, encoding="utf-8")
    assert DIAGRAM.read_text(encoding="utf-8") == text, (
        "after a migration: ./insula test tests/migrations/test_inventory.py --write-golden"
    )


DEEDS = {
    "a function with another body": (
        "CREATE OR REPLACE FUNCTION app.tenant_id() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL RESTRICTED"
        " SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NULL; END $$"
    ),
    "a right that no rule forbids": "GRANT UPDATE (limits, suspended_at) ON app.organization TO app_rw",
    "a right that lets somebody in": 'GRANT UPDATE (email_verified_at, disabled_at) ON app."user" TO app_rw',
    "operators made by the platform": "GRANT INSERT, DELETE ON app.operator TO app_platform",
    "a CHECK that is gone": 'ALTER TABLE app."user" DROP CONSTRAINT user_address',
    "a key that is gone": "ALTER TABLE app.membership DROP CONSTRAINT membership_user",
    "an index that is gone": "DROP INDEX app.project_name_order",
    "triggers switched off": "ALTER TABLE app.outbox DISABLE TRIGGER wait_until_due",
    "references switched off": "ALTER TABLE app.team_member DISABLE TRIGGER ALL",
    "a setting of the whole database": (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$"
    ),
    "a publication": "CREATE PUBLICATION everything FOR ALL TABLES",
    "a sequence": "CREATE SEQUENCE app.numbers",
}


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_was_done_by_hand_is_noticed(addresses: dict[str, str], database: str, deed: str) -> None:
    connection = await asyncpg.connect(addresses["admin"], database=database)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await connection.execute(DEEDS[deed])
        findings = await check_catalogue(connection, RELEASE)
        assert [found for found in findings if found.rule == "the_schema_is_the_releases"], deed
    finally:
        await transaction.rollback()
        await connection.close()


LISTED = (
    (
        "GRANT EXECUTE ON FUNCTION app.enter TO app_identity",
        (
            "CREATE FUNCTION app.later() RETURNS int LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'SELECT 1';"
            " ALTER FUNCTION app.later() OWNER TO app_door; GRANT EXECUTE ON FUNCTION app.later() TO app_rw;"
            " REVOKE EXECUTE ON FUNCTION app.later() FROM PUBLIC"
        ),
    ),
    (
        "ALTER FUNCTION app.wait_until_due() RESET search_path",
        "CREATE TRIGGER later BEFORE UPDATE ON app.project FOR EACH ROW EXECUTE FUNCTION app.wait_until_due()",
    ),
)
"""What this release must not have, and what a later one may have beside it: its lists name doors and triggers of its own."""


async def broken(connection: asyncpg.Connection) -> set[str]:
    """The rules, but for the one that a superuser's connection breaks."""
    return {found.rule for found in await check_catalogue(connection, RELEASE)} - {"the_program_runs_as_its_login"}


async def test_a_schema_that_is_ahead_is_not_compared(addresses: dict[str, str], database: str) -> None:
    connection = await asyncpg.connect(addresses["admin"], database=database)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(
            "COMMENT ON SCHEMA app IS '9999'; CREATE SEQUENCE app.numbers;"
            " ALTER SEQUENCE app.numbers OWNER TO app_owner"
        )
        findings = await check_catalogue(connection, RELEASE)
        assert not [found for found in findings if found.rule == "the_schema_is_the_releases"]
        for known, unknown in LISTED:
            await connection.execute(unknown)
            assert await broken(connection) == set()
            await connection.execute("SAVEPOINT known")
            await connection.execute(known)
            assert await broken(connection) != set()
            await connection.execute("ROLLBACK TO SAVEPOINT known")
        for caller in ("PUBLIC", "app_migrator"):
            await connection.execute(f"SAVEPOINT shut; GRANT EXECUTE ON FUNCTION app.later() TO {caller}")
            assert await broken(connection) == {"doors_open_to_logins_alone"}
            await connection.execute("ROLLBACK TO SAVEPOINT shut")
        await connection.execute(
            "CREATE OR REPLACE FUNCTION app.tenant_id() RETURNS uuid LANGUAGE sql STABLE"
            " AS $$ SELECT current_setting('app.told', true)::uuid $$"
        )
        wrong = [found for found in await check_catalogue(connection, RELEASE) if "app.tenant_id" in found.object]
        assert {found.rule for found in wrong} >= {"the_schema_is_the_releases"}, (
            "contexts are read alike in all releases"
        )
    finally:
        await transaction.rollback()
        await connection.close()
