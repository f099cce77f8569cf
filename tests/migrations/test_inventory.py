"""The inventory that the program compares its database with notices every change that is made by hand."""

import asyncpg
import pytest

from insula.core.catalogue import check_catalogue
from insula.schema import RELEASE
from tests.architecture.test_golden import WRITE_ANEW

MONTH = """DO $do$ BEGIN EXECUTE (
    SELECT format($${}$$, relname) FROM pg_class WHERE relname ~ '^event_[0-9_]+$' AND relispartition ORDER BY 1 LIMIT 1);
END $do$"""
"""Done to one partition."""
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
    "jobs that a crash forgets": "ALTER TABLE app.outbox SET UNLOGGED",
    "a month of events that a crash forgets": MONTH.format("ALTER TABLE app.%I SET UNLOGGED"),
    "members who are owners": "ALTER TABLE app.membership ALTER role SET DEFAULT 'owner'",
    "another default": "ALTER TABLE app.outbox ALTER created_at SET DEFAULT '2001-01-01'",
    "a default that is gone": "ALTER TABLE app.outbox ALTER due_at DROP DEFAULT",
    "a moment that is no longer computed": "ALTER TABLE app.account_event ALTER occurred_at DROP EXPRESSION",
    "a moment that is computed otherwise": (
        "ALTER TABLE app.account_event DROP occurred_at; ALTER TABLE app.account_event"
        " ADD occurred_at timestamptz NOT NULL GENERATED ALWAYS AS ('2001-01-01 00:00:00+00'::timestamptz) STORED"
    ),
    "a default in a month of events": MONTH.format("ALTER TABLE app.%I ALTER version SET DEFAULT 7"),
    "a CHECK in a month of events": MONTH.format("ALTER TABLE app.%I ADD CHECK (version < 100)"),
    "an index of a month of events": MONTH.format("CREATE INDEX ON app.%I (tenant_id, version)"),
    "a door shut to a month of events": MONTH.format("DROP POLICY door ON app.%I"),
    "a month of events that is not vacuumed": MONTH.format("ALTER TABLE app.%I SET (autovacuum_enabled = off)"),
    "a trigger of a month of events": MONTH.format(
        "CREATE TRIGGER slow BEFORE INSERT ON app.%I FOR EACH ROW EXECUTE FUNCTION app.wait_until_due()"
    ),
    "a CHECK of another meaning": (
        'ALTER TABLE app."user" DROP CONSTRAINT user_address, ADD CONSTRAINT user_address'
        " CHECK (email_norm IS NOT NULL AND email IS NOT NULL)"
    ),
    "a key that deletes what refers to it": (
        "ALTER TABLE app.membership DROP CONSTRAINT membership_user, ADD CONSTRAINT membership_user"
        ' FOREIGN KEY (user_id) REFERENCES app."user" (id) ON DELETE CASCADE DEFERRABLE'
    ),
    "an index of other rows": (
        "DROP INDEX app.project_name_order; CREATE INDEX project_name_order ON app.project (tenant_id, name_norm, id)"
        " WHERE version > 1"
    ),
    "a policy of another meaning": "ALTER POLICY door ON app.credential USING (revoked_at IS NULL)",
    "a trigger at another time": (
        "DROP TRIGGER wait_until_due ON app.outbox; CREATE TRIGGER wait_until_due AFTER DELETE ON app.outbox"
        " FOR EACH ROW EXECUTE FUNCTION app.wait_until_due()"
    ),
    "a column compared in another way": 'ALTER TABLE app.outbox ALTER task TYPE text COLLATE "POSIX"',
    "a column stored in another way": "ALTER TABLE app.outbox ALTER payload SET STORAGE EXTERNAL",
    "a table that is not vacuumed": "ALTER TABLE app.credential SET (autovacuum_enabled = off)",
    "a table whose rows are shown whole to replicas": "ALTER TABLE app.password REPLICA IDENTITY FULL",
    "a table whose rows replicas cannot tell apart": "ALTER TABLE app.password REPLICA IDENTITY NOTHING",
    "row security of the revision": "ALTER TABLE migration.version ENABLE ROW LEVEL SECURITY",
    "a function that answers nothing to NULL": "ALTER FUNCTION app.enter(bytea, uuid) STRICT",
    "a function that the owner may no longer ask": "REVOKE EXECUTE ON FUNCTION app.tenant_id() FROM app_owner",
    "a stranger who looks into the schema": "CREATE ROLE stranger; GRANT USAGE ON SCHEMA app TO stranger",
    "functions to come that are everybody's": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_door GRANT EXECUTE ON FUNCTIONS TO PUBLIC"
    ),
    "tables to come that somebody reads": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO app_platform"
    ),
    "what runs when the schema changes": (
        "CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); END';"
        " CREATE EVENT TRIGGER slow ON ddl_command_end EXECUTE FUNCTION public.slow()"
    ),
    "what writes from another server": (
        "CREATE SUBSCRIPTION copy CONNECTION 'dbname=elsewhere' PUBLICATION everything"
        " WITH (connect = false, slot_name = NONE)"
    ),
    "a kind of value": "CREATE DOMAIN app.address AS text CHECK (length(VALUE) < 10)",
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
        mends = {found.mend for found in findings if found.rule == "the_schema_is_the_releases"}
        assert len(mends) == 1, deed
        assert WRITE_ANEW in mends.pop(), "whoever wrote a migration meets this in every other test before"
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
