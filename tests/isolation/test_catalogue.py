"""The catalogue check: silent about our schema, and about nothing else."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from insula.core.catalogue import RULES, Unproven, check_catalogue, require_proven
from insula.core.db import Database
from insula.schema import RELEASE
from tests.conftest import address
from tests.isolation.breakages import BREAKAGES
from tests.isolation.breakages.visits import PEOPLES_VISITS


async def found(breaker: asyncpg.Connection, deed: str) -> dict[str, str]:
    """The broken rules after a deed, and what each says."""
    await breaker.execute(deed)
    if "SESSION AUTHORIZATION" not in deed:
        await breaker.execute("SET LOCAL SESSION AUTHORIZATION app_rw")
    return {finding.rule: f"{finding.object} {finding.wrong}" for finding in await check_catalogue(breaker)}


async def test_our_own_schema_breaks_no_rule(breaker: asyncpg.Connection) -> None:
    assert await found(breaker, "SELECT") == {}


@pytest.mark.parametrize(
    "deed",
    [
        'ALTER TABLE app.team RENAME TO "order"',
        PEOPLES_VISITS,
        PEOPLES_VISITS.replace("RANGE (id)", "HASH (id)").replace(
            "DEFAULT", "FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
        ),
        "CREATE INDEX project_gone ON app.project (tenant_id, id) WHERE deleted_at IS NOT NULL",
        "CREATE INDEX project_word ON app.project (tenant_id, id) WHERE status = 'id' OR team_id IS NULL",
        "CREATE INDEX project_active ON app.project (tenant_id, id) WHERE status = 'active' AND metadata IS NOT NULL",
        (
            "ALTER TABLE app.project ADD kind varchar(9) CHECK (kind IN ('big', 'small')), ALTER kind SET STATISTICS 0;"
            " CREATE INDEX project_big ON app.project (tenant_id, id) WHERE kind = 'big'"
        ),
        "CREATE INDEX event_recent ON app.event (tenant_id, id) WHERE occurred_at > '2026-11-29 00:00Z'",
        "ALTER TABLE app.project ADD code varchar(40); ALTER TABLE app.project ALTER code SET STATISTICS 0",
        (
            "ALTER TABLE app.project ADD notes text; ALTER TABLE app.project ALTER notes SET STATISTICS 0,"
            " ADD CHECK (octet_length(notes) <= 100) NOT VALID"
        ),
        (
            'ALTER TABLE app.project ADD "order" text; ALTER TABLE app.project ALTER "order" SET STATISTICS 0,'
            ' ADD CHECK (octet_length("order") <= 100)'
        ),
        (
            "ALTER TABLE app.project ADD places uuid[] CHECK (octet_length(places::text) <= 1000);"
            " ALTER TABLE app.project ALTER places SET STATISTICS 0"
        ),
        (
            "SET LOCAL ROLE app_owner; CREATE VIEW app.projects WITH (security_invoker = yes) AS SELECT * FROM app.project;"
            " GRANT SELECT ON app.projects TO app_rw; RESET ROLE"
        ),
        "CREATE SCHEMA elsewhere; CREATE EXTENSION btree_gist SCHEMA elsewhere",
        "CREATE EXTENSION pg_stat_statements SCHEMA public; CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher",
        (
            "CREATE ROLE pooler LOGIN; CREATE FUNCTION public.user_search(uname text) RETURNS TABLE (usename name, passwd text)"
            " LANGUAGE sql SECURITY DEFINER AS 'SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = $1';"
            " REVOKE ALL ON FUNCTION public.user_search(text) FROM PUBLIC;"
            " GRANT EXECUTE ON FUNCTION public.user_search(text) TO pooler"
        ),
        (
            "CREATE FUNCTION public.ddl_ended() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END';"
            " CREATE EVENT TRIGGER ddl_ended ON ddl_command_end EXECUTE FUNCTION public.ddl_ended()"
        ),
        (
            "CREATE FUNCTION pg_catalog.other_handler() RETURNS language_handler LANGUAGE c"
            " AS '$libdir/plpgsql', 'plpgsql_call_handler'; CREATE LANGUAGE other HANDLER other_handler"
        ),
        "CREATE ROLE watcher; GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO watcher",
        "CREATE ROLE app_backup LOGIN REPLICATION; CREATE ROLE app_ci LOGIN CREATEDB CREATEROLE BYPASSRLS",
        (
            "CREATE ROLE grafana LOGIN IN ROLE pg_monitor; CREATE SCHEMA monitoring; GRANT USAGE ON SCHEMA monitoring TO grafana;"
            " CREATE TABLE monitoring.sample (id serial PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id);"
            " CREATE TABLE monitoring.sample_1 PARTITION OF monitoring.sample DEFAULT;"
            " CREATE TABLE monitoring.kept (at timestamptz); CREATE TABLE monitoring.older () INHERITS (monitoring.kept);"
            " ALTER TABLE monitoring.kept ENABLE ROW LEVEL SECURITY;"
            " CREATE POLICY all_of_it ON monitoring.kept TO grafana USING (true);"
            " CREATE FUNCTION monitoring.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            " CREATE TRIGGER note BEFORE INSERT ON monitoring.kept FOR EACH ROW EXECUTE FUNCTION monitoring.note();"
            " CREATE VIEW monitoring.locks AS SELECT * FROM pg_locks;"
            " CREATE MATERIALIZED VIEW monitoring.latest AS SELECT max(at) FROM monitoring.sample;"
            " GRANT SELECT ON ALL TABLES IN SCHEMA monitoring TO grafana;"
            " GRANT USAGE ON ALL SEQUENCES IN SCHEMA monitoring TO grafana"
        ),
    ],
    ids=[
        "a reserved name",
        "a person's table in parts",
        "a table whose parts mix people",
        "an index of what was deleted",
        "an index of rows with a word and of those without a team",
        "an index of rows with one of a column's words",
        "an index of rows with one of a new column's words",
        "an index of what happened lately, as ids tell",
        "a short text",
        "a bound of rows to come",
        "a column with a reserved name",
        "ids of a bounded number",
        "a view that asks as its reader",
        "an extension where no login looks",
        "statistics of statements, and who reads them",
        "what CloudNativePG makes for its poolers",
        "what pgaudit hears of",
        "what makes a language work",
        "a system function that everybody has anyhow",
        "roles of another product's",
        "what a monitor keeps of its own",
    ],
)
async def test_what_breaks_no_rule_is_not_reported(breaker: asyncpg.Connection, deed: str) -> None:
    assert await found(breaker, deed) == {}


async def test_a_column_that_is_not_stored_is_not_counted(breaker: asyncpg.Connection) -> None:
    """ANALYZE passes it over, and PostgreSQL refuses to SET STATISTICS of it; before 18 all that are computed are stored."""
    label = "ALTER TABLE app.project ADD label text GENERATED ALWAYS AS (upper(name)) {} CHECK (octet_length(label) <= 9000)"
    if breaker.get_server_version().major >= 18:
        assert await found(breaker, label.format("VIRTUAL")) == {}
        await breaker.execute("RESET SESSION AUTHORIZATION; ALTER TABLE app.project DROP label")
    assert await found(breaker, label.format("STORED")) == {
        "values_are_not_counted": "app.project.label is in the planner's statistics"
    }


@pytest.mark.parametrize(
    ("rule", "deed"), [(rule, deed) for _, rule, deed in BREAKAGES], ids=[sentence for sentence, _, _ in BREAKAGES]
)
async def test_the_check_finds(breaker: asyncpg.Connection, rule: Callable[..., object], deed: str) -> None:
    assert rule.__name__ in await found(breaker, deed)


async def test_each_function_of_large_objects_is_found(breaker: asyncpg.Connection) -> None:
    functions = [
        row[0]
        for row in await breaker.fetch(
            "SELECT oid::regprocedure::text FROM pg_proc"
            " WHERE prosrc ~ '^be_lo' AND pronamespace = 'pg_catalog'::regnamespace"
        )
    ]
    assert {"lo_close(integer)", "lo_lseek64(integer,bigint,integer)", "lo_tell(integer)"} <= set(functions)
    await breaker.execute(f"GRANT EXECUTE ON FUNCTION {', '.join(functions)} TO app_rw")
    await breaker.execute("SET LOCAL SESSION AUTHORIZATION app_rw")
    told = {finding.object for finding in await check_catalogue(breaker) if "app_rw holds EXECUTE" in finding.wrong}
    assert told == {f"large object function {function}" for function in functions}


def test_every_rule_has_been_seen_to_find_something() -> None:
    tried = {rule.__name__ for _, rule, _ in BREAKAGES}
    assert {rule.check.__name__ for rule in RULES} == tried


async def test_the_program_starts_on_a_proven_database(addresses: dict[str, str], broken: str) -> None:
    database = await Database(address(addresses["admin"], "app_rw", broken), pool_size=1).open()
    try:
        await require_proven(database, RELEASE)
    finally:
        await database.close()


async def test_the_program_does_not_start_as_another_login(addresses: dict[str, str], broken: str) -> None:
    database = await Database(address(addresses["admin"], "app_platform", broken), pool_size=1).open()
    try:
        with pytest.raises(Unproven, match=r"the_program_runs_as_its_login.*app_rw"):
            await require_proven(database, RELEASE)
    finally:
        await database.close()


async def test_a_login_that_changed_itself_is_found(addresses: dict[str, str], broken: str) -> None:
    """PostgreSQL lets every login set its own defaults, and so whatever SQL slipped into it."""
    connection = await asyncpg.connect(address(addresses["admin"], "app_rw", broken))
    try:
        await connection.execute("BEGIN; ALTER ROLE app_rw SET row_security = off")
        assert [finding.rule for finding in await check_catalogue(connection)] == ["logins_have_our_defaults"]
    finally:
        await connection.close()


async def test_no_extension_is_required(breaker: asyncpg.Connection) -> None:
    assert [row["extname"] for row in await breaker.fetch("SELECT extname FROM pg_extension")] == ["plpgsql"]


async def test_the_check_asks_for_everything_at_once(breaker: asyncpg.Connection) -> None:
    """It is made at every start: with more tables its answers get longer, and not its questions more."""
    asked: list[str] = []
    with breaker.query_logger(lambda query: asked.append(query.query)):
        await check_catalogue(breaker)
        await asyncio.sleep(0)  # what was asked last is told now
        before = len(asked)
        for number in range(20):
            await breaker.execute(f"CREATE TABLE app.thing_{number} (id uuid)")
        await check_catalogue(breaker)
        await asyncio.sleep(0)
    again = [query for query in asked[before:] if not query.startswith("CREATE TABLE")]
    assert 0 < len(again) == before < 20


async def test_a_role_that_may_read_every_table_finds_no_key_and_nobodys_rows(breaker: asyncpg.Connection) -> None:
    """A monitor's or a report's: pg_read_all_data is a grant on all tables, past the rules about grants."""
    await breaker.execute("CREATE ROLE reporter; GRANT pg_read_all_data, pg_write_all_data TO reporter")
    assert await breaker.fetchval("SELECT count(*) FROM app.door_key") == 1
    await breaker.execute("SET LOCAL ROLE reporter")
    assert await breaker.fetchval("SELECT count(*) FROM app.door_key") == 0
    assert await breaker.execute("UPDATE app.door_key SET ipad = ipad") == "UPDATE 0"
