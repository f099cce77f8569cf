"""Every way to break what the catalogue check asks of functions, roles and the server."""

from insula.core.catalogue import openings, rights
from insula.core.tables import delete_door_body

RIGHT_BREAKAGES = {
    rights.functions_are_pinned: {
        "a function that trusts the caller's search_path": "ALTER FUNCTION app.enter(bytea, uuid) RESET search_path",
        "a function with a search_path of its own": "ALTER FUNCTION app.user_id() SET search_path = app, pg_catalog",
    },
    rights.functions_lend_the_doors_rights: {
        "a door that runs as the owner": "ALTER FUNCTION app.enter(bytea, uuid) OWNER TO app_owner",
        "a guard that a stranger may change": (
            "CREATE ROLE stranger; ALTER FUNCTION migration.refuse_logins() OWNER TO stranger"
        ),
        "a superuser's function elsewhere that the door may call": (
            "CREATE FUNCTION public.look() RETURNS text LANGUAGE sql SECURITY DEFINER AS"
            " $$ SELECT passwd FROM pg_shadow LIMIT 1 $$; REVOKE ALL ON FUNCTION public.look() FROM PUBLIC;"
            " GRANT USAGE ON SCHEMA public TO app_door; GRANT EXECUTE ON FUNCTION public.look() TO app_door"
        ),
        "a superuser's function among the system's that the door may call": (
            "CREATE FUNCTION pg_catalog.look() RETURNS text LANGUAGE sql SECURITY DEFINER AS"
            " $$ SELECT passwd FROM pg_shadow LIMIT 1 $$; REVOKE ALL ON FUNCTION pg_catalog.look() FROM PUBLIC;"
            " GRANT EXECUTE ON FUNCTION pg_catalog.look() TO app_door"
        ),
        "a door in a schema of a monitor's": (
            "CREATE ROLE stranger; CREATE SCHEMA monitoring; GRANT USAGE ON SCHEMA monitoring TO stranger;"
            " CREATE FUNCTION monitoring.organizations() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS"
            " 'SELECT count(*) FROM app.organization'; ALTER FUNCTION monitoring.organizations() OWNER TO app_door"
        ),
        "a migrator's function in a schema of a monitor's": (
            "CREATE SCHEMA monitoring; CREATE FUNCTION monitoring.organizations() RETURNS bigint LANGUAGE sql"
            " SECURITY DEFINER AS 'SELECT count(*) FROM app.organization';"
            " ALTER FUNCTION monitoring.organizations() OWNER TO app_migrator"
        ),
        "a door that runs as a superuser": (
            "ALTER FUNCTION app.create_event_partitions(timestamptz, integer) OWNER TO CURRENT_USER"
        ),
    },
    openings.doors_open_to_whom_they_are_for: {
        "a door that is shut": "REVOKE EXECUTE ON FUNCTION app.enter(bytea, uuid) FROM app_rw",
    },
    openings.doors_are_shut_to_other_logins: {
        "a door nobody listed": (
            "CREATE FUNCTION app.become(uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path ="
            " pg_catalog, pg_temp AS $$ SELECT app.set_context($1, $1) $$; ALTER FUNCTION app.become(uuid) OWNER"
            " TO app_door; GRANT EXECUTE ON FUNCTION app.become(uuid) TO app_rw"
        ),
        "a function that signs contexts for requests": (
            "GRANT EXECUTE ON FUNCTION app.set_context(uuid, uuid) TO app_rw"
        ),
        "a door opened to another login": "GRANT EXECUTE ON FUNCTION app.enter(bytea, uuid) TO app_identity",
        "a door that deletes whoever's row it is": (
            "CREATE FUNCTION app.delete_project(row_id uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp AS $$ BEGIN DELETE FROM app.project WHERE id = row_id;"
            " RETURN FOUND; END $$; ALTER FUNCTION app.delete_project(uuid) OWNER TO app_door;"
            " REVOKE ALL ON FUNCTION app.delete_project FROM PUBLIC; GRANT EXECUTE ON FUNCTION app.delete_project TO app_rw"
        ),
        "a door that deletes what happened": (
            "CREATE FUNCTION app.delete_event(row_id uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp"
            f" AS {delete_door_body('event')}; ALTER FUNCTION app.delete_event(uuid) OWNER TO app_door;"
            " REVOKE ALL ON FUNCTION app.delete_event FROM PUBLIC; GRANT EXECUTE ON FUNCTION app.delete_event TO app_rw"
        ),
    },
    openings.doors_open_to_logins_alone: {
        "a function open to everybody": "GRANT EXECUTE ON FUNCTION app.enter(bytea, uuid) TO PUBLIC",
        "a function that signs contexts for a stranger": (
            "CREATE ROLE stranger; GRANT EXECUTE ON FUNCTION app.set_context(uuid, uuid) TO stranger"
        ),
    },
    openings.doors_have_one_form: {
        "a second function under a door's name": (
            "CREATE FUNCTION app.enter(uuid) RETURNS void LANGUAGE sql AS $$ SELECT $$"
        ),
    },
    rights.functions_elsewhere_are_nobodys: {
        "a function beside the revision": (
            "CREATE FUNCTION migration.peek() RETURNS SETOF app.project LANGUAGE sql SECURITY DEFINER"
            " AS $$ SELECT * FROM app.project $$; ALTER FUNCTION migration.peek() OWNER TO app_door"
        ),
        "a function of the system's that was replaced": (
            "CREATE OR REPLACE FUNCTION pg_catalog.ts_debug(document text, OUT alias text, OUT description text,"
            " OUT token text, OUT dictionaries regdictionary[], OUT dictionary regdictionary, OUT lexemes text[])"
            " RETURNS SETOF record LANGUAGE sql STABLE STRICT SECURITY DEFINER AS $$ SELECT rolpassword, '', '',"
            " ARRAY[]::regdictionary[], NULL::regdictionary, ARRAY[]::text[] FROM pg_authid $$"
        ),
        "a function that says it looks at a language's": (
            "CREATE FUNCTION pg_catalog.peek(oid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS"
            " 'BEGIN PERFORM FROM app.project; END';"
            " CREATE LANGUAGE another HANDLER plpgsql_call_handler VALIDATOR pg_catalog.peek"
        ),
        "a function among the system's": (
            "CREATE FUNCTION pg_catalog.names() RETURNS text LANGUAGE sql SECURITY DEFINER AS"
            " $$ SELECT string_agg(name, ', ') FROM app.organization $$"
        ),
        "an extension among the system's": "CREATE EXTENSION btree_gist SCHEMA pg_catalog",
        "a function in a schema that logins see": (
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; GRANT USAGE ON SCHEMA"
            " public TO app_rw"
        ),
    },
    rights.the_context_is_asked_once: {
        "a context that parallel workers ask for": "ALTER FUNCTION app.tenant_id() PARALLEL SAFE",
        "a context asked once per row": "ALTER FUNCTION app.user_id() VOLATILE",
        "a context read with the caller's rights": "ALTER FUNCTION app.tenant_id() SECURITY INVOKER",
    },
    rights.roles_have_no_rights_of_their_own: {
        "a login that bypasses row security": "ALTER ROLE app_platform BYPASSRLS",
        "a login that makes roles": "ALTER ROLE app_rw CREATEROLE",
        "a login that makes databases": "ALTER ROLE app_identity CREATEDB",
        "a login that replicates": "ALTER ROLE app_rw REPLICATION",
        "a superuser among the doors": "ALTER ROLE app_door SUPERUSER",
        "a migrator that bypasses row security": "ALTER ROLE app_migrator BYPASSRLS",
    },
    rights.logins_are_only_themselves: {
        "a login that can become another": "GRANT app_platform TO app_rw",
        "a login that reads files": "GRANT pg_read_server_files TO app_rw",
        "a login that owns a table": "ALTER TABLE app.project OWNER TO app_rw",
        "a login with default privileges": (
            "ALTER DEFAULT PRIVILEGES FOR ROLE app_rw GRANT SELECT ON TABLES TO PUBLIC"
        ),
    },
    rights.the_house_owns_the_schema: {
        "a table of a stranger's": "CREATE ROLE stranger; ALTER TABLE app.project OWNER TO stranger",
        "a table of whoever migrated": "ALTER TABLE app.project OWNER TO app_migrator",
        "a schema of a stranger's": "CREATE ROLE stranger; ALTER SCHEMA app OWNER TO stranger",
    },
    rights.owners_cannot_log_in: {
        "an owner who logs in": "ALTER ROLE app_owner LOGIN",
        "a login that cannot": "ALTER ROLE app_identity NOLOGIN",
    },
    rights.logins_reach_only_the_schema: {
        "a system function granted to a login": "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app_rw",
        "a system table granted to a login": "GRANT SELECT ON pg_authid TO app_platform",
        "a column of a system table granted to a login": "GRANT SELECT (rolpassword) ON pg_authid TO app_rw",
        "keys and triggers that a login switches off": "GRANT SET ON PARAMETER session_replication_role TO app_identity",
    },
    rights.logins_have_our_defaults: {
        "a login that set its own search_path": "ALTER ROLE app_rw SET search_path = public",
        "a login whose sessions are read-only": "ALTER ROLE app_rw SET default_transaction_read_only = on",
        "a login without its timeouts": "ALTER ROLE app_rw SET statement_timeout = 0",
        "a login whose timeouts were reset": "ALTER ROLE app_identity RESET lock_timeout",
        "a login that waits for clients who are gone": "ALTER ROLE app_rw SET client_connection_check_interval = 0",
        "a login with defaults in this database": (
            "DO $$ BEGIN EXECUTE format('ALTER ROLE app_rw IN DATABASE %I SET row_security = off',"
            " current_database()); END $$"
        ),
    },
    rights.nothing_can_be_created: {
        "temporary tables": (
            "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO app_rw', current_database()); END $$"
        ),
        "temporary tables for everybody": (
            "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$"
        ),
        "schemas made by a login": (
            "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO app_platform', current_database()); END $$"
        ),
        "objects made by a login": "GRANT CREATE ON SCHEMA app TO app_rw",
        "objects made by the door": "GRANT CREATE ON SCHEMA app TO app_door",
        "objects made by everybody in public": "GRANT CREATE ON SCHEMA public TO PUBLIC",
    },
    rights.no_other_schema_is_visible: {
        "the schema public": "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "another schema": "CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO app_identity",
    },
    rights.no_code_but_sql_is_written: {
        "code blocks": "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
        "code blocks of a login": "GRANT USAGE ON LANGUAGE plpgsql TO app_rw",
    },
    rights.nobody_locks_or_ends_what_is_not_theirs: {
        "locks that outlive a transaction": "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC",
        "locks of a transaction": "GRANT EXECUTE ON FUNCTION pg_try_advisory_xact_lock(integer, integer) TO app_rw",
        "the end of others' connections": "GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO app_rw",
        "the end of others' queries": "GRANT EXECUTE ON FUNCTION pg_cancel_backend(integer) TO PUBLIC",
    },
    rights.nothing_is_stored_outside_of_tables: {
        "large objects": "GRANT EXECUTE ON FUNCTION lo_from_bytea(oid, bytea) TO PUBLIC",
        "a foreign server": (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN"
            " SERVER s TO PUBLIC"
        ),
    },
    rights.nobody_else_becomes_one_of_us: {
        "a door for somebody else": "CREATE ROLE guest IN ROLE app_door",
        "a login of somebody's": "CREATE ROLE guest IN ROLE app_platform",
    },
    rights.logins_change_no_schema: {
        "a guard that only has the name of one": (
            "DROP EVENT TRIGGER logins_change_no_schema; CREATE FUNCTION public.refuse_logins() RETURNS event_trigger"
            " LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER logins_change_no_schema ON ddl_command_start"
            " EXECUTE FUNCTION public.refuse_logins(); ALTER EVENT TRIGGER logins_change_no_schema ENABLE ALWAYS"
        ),
        "no event trigger": "DROP EVENT TRIGGER logins_change_no_schema",
        "one that sleeps while rows are replicated": "ALTER EVENT TRIGGER logins_change_no_schema ENABLE",
    },
    rights.triggers_and_policies_are_in_force: {
        "no foreign keys": "SET LOCAL session_replication_role = replica",
        "an error for whoever meets a policy": "SET LOCAL row_security = off",
        "no foreign keys of one table": "ALTER TABLE app.team_member DISABLE TRIGGER ALL",
        "jobs of later that are due at once": "ALTER TABLE app.outbox DISABLE TRIGGER wait_until_due",
    },
    rights.no_order_spans_tenants: {
        "names in the order of all tenants": "CREATE INDEX i ON app.project (name)",
        "an expression in the order of all tenants": "CREATE INDEX i ON app.project (lower(name), tenant_id)",
        "a column that is unique everywhere": 'GRANT SELECT (email_norm) ON app."user" TO app_rw',
        "ids in the order of all tenants": "CREATE INDEX i ON app.membership (user_id, tenant_id)",
        "what is next to a place, of all tenants": (
            "ALTER TABLE app.project ADD place point; CREATE INDEX i ON app.project USING gist (place)"
        ),
        "what is next to a place, in a tree of another kind": (
            "ALTER TABLE app.project ADD place point; CREATE INDEX i ON app.project USING spgist (place)"
        ),
        "between which ids there are rows": "CREATE INDEX i ON app.project USING brin (id)",
        "between which ids there are rows, whoever comes first": (
            "CREATE INDEX i ON app.project USING brin (tenant_id, team_id)"
        ),
        "keys that do not begin with whose a row is": ("CREATE INDEX i ON app.event (id, type app.text_key_ops)"),
        "keys of what nobody is asked first": ("CREATE INDEX i ON app.outbox (id, task app.text_key_ops)"),
        "an order of a part of a table": (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE INDEX i ON %s (type)', inhrelid::regclass)"
            " FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "between which ids a part of a table has rows": (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE INDEX i ON %s USING brin (id)', inhrelid::regclass)"
            " FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
    },
    rights.row_security_is_asked_first: {
        "documents looked into before the policy": "ALTER TYPE jsonb SET (SUBSCRIPT = jsonb_subscript_handler)",
        "a policy for which one pays": "ALTER FUNCTION uuid_eq(uuid, uuid) COST 1",
        "integers as subscripts before the policy": "ALTER TABLE app.project ADD wheels integer",
        "ids compared before the policy": "ALTER FUNCTION uuid_ge(uuid, uuid) COST 10",
        "texts compared before the policy": "ALTER FUNCTION text_ge(text, text) LEAKPROOF",
        "comparisons of keys at the price of any": "ALTER FUNCTION app.text_eq(text, text) COST 1",
        "a cast that tells what it cannot cast": "ALTER FUNCTION int4div(integer, integer) LEAKPROOF",
    },
    rights.the_system_keeps_its_secrets: {
        "files for everybody": "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC",
        "password hashes for everybody": "GRANT SELECT ON pg_authid TO PUBLIC",
        "password hashes for everybody, by their column": "GRANT SELECT (rolpassword) ON pg_authid TO PUBLIC",
        "everybody's values for everybody": "GRANT SELECT (starelid, staattnum, stavalues1) ON pg_statistic TO PUBLIC",
        "keys and triggers that everybody switches off": "GRANT SET ON PARAMETER session_replication_role TO PUBLIC",
    },
    rights.the_program_runs_as_its_login: {
        "a program that runs as a superuser": "RESET SESSION AUTHORIZATION",
        "a program that runs as another login": "SET LOCAL SESSION AUTHORIZATION app_platform",
    },
}
