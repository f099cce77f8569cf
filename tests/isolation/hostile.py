"""What SQL that slipped into a request might try. {b}, {b_user} and {b_project} are ids of the neighbour's."""

_FORGED = "00" * 64

FORGED_CONTEXTS = {
    "a context made up for the transaction": ["SELECT set_config('app.context', replace('{b}', '-', '') || repeat('00', 48), true)"],
    "a context made up for the session": ["SELECT set_config('app.context', replace('{b}', '-', '') || repeat('00', 48), false)"],
    "its own context with the neighbour's tenant": [
        "SELECT set_config('app.context', overlay(current_setting('app.context') placing replace('{b}', '-', '') from 1), true)"
    ],
    "its own context with one bit turned": [
        ("SELECT set_config('app.context', encode(set_bit(decode(current_setting('app.context'), 'hex'), 7, 1"
        " - get_bit(decode(current_setting('app.context'), 'hex'), 7)), 'hex'), true)")
    ],
    "half a context": ["SELECT set_config('app.context', left(current_setting('app.context'), 64), true)"],
    "the neighbour's tenant and nothing else": ["SELECT set_config('app.context', replace('{b}', '-', ''), true)"],
    "a context with something behind it": ["SELECT set_config('app.context', current_setting('app.context') || '00', true)"],
    "an empty context": ["SELECT set_config('app.context', '', false)"],
    "a context of nonsense": ["SELECT set_config('app.context', 'zz', true)"],
    "a context of a megabyte": ["SELECT set_config('app.context', repeat('00', 500000), true)"],
    "its own context kept for the session": ["SELECT set_config('app.context', current_setting('app.context'), false)"],
    "contexts by SET": ["SET app.context = '00'", "SET LOCAL app.context = '00'", "SET SESSION app.context TO DEFAULT", "RESET app.context"],
    "settings of the old days": ["SET app.tenant_id = '{b}'", "SET request.jwt.claim.sub = '{b_user}'", "SET app.current_tenant = '{b}'"],
}

SESSION_STATE = {
    "read-only sessions": ["SET default_transaction_read_only = on", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"],
    "sessions that wait for a quiet moment": [
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"
    ],
    "sessions of another isolation": ["SET default_transaction_isolation = 'serializable'"],
    "short timeouts": ["SET statement_timeout = 50", "SET lock_timeout = 1", "SET idle_in_transaction_session_timeout = 60000"],
    "another search_path": ["SET search_path = pg_temp, public, app", "SELECT set_config('search_path', 'app', false)"],
    "row security off": ["SET row_security = off", "SELECT * FROM app.project"],
    "another language of values": [
        "SET bytea_output = 'escape'", "SET DateStyle = 'SQL, DMY'", "SET IntervalStyle = 'sql_standard'",
        "SET TimeZone = 'Asia/Kathmandu'", "SET extra_float_digits = -15", "SET xmlbinary = 'hex'",
    ],
    "another alphabet": ["SET client_encoding = 'LATIN1'", "SET client_encoding = 'SQL_ASCII'", "SET NAMES 'EUC_JP'"],
    "another grammar": [
        "SET standard_conforming_strings = off", "SET transform_null_equals = on", "SET array_nulls = off",
        "SET quote_all_identifiers = on", "SET backslash_quote = on",
    ],
    "other plans": [
        "SET plan_cache_mode = force_generic_plan", "SET enable_indexscan = off", "SET enable_bitmapscan = off",
        "SET enable_indexonlyscan = off", "SELECT * FROM app.project", "SET jit = off", "SET from_collapse_limit = 1",
    ],
    "cursors that stay": [
        "DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM app.project", "DECLARE binary_one BINARY CURSOR FOR SELECT name FROM app.project",
        "FETCH ALL FROM kept", "MOVE ABSOLUTE 0 IN kept",
    ],
    "a cursor over everything, kept beyond the commit": [
        "COMMIT", "BEGIN", "DECLARE kept CURSOR WITH HOLD FOR SELECT current_setting('app.context', true), now()", "COMMIT",
    ],
    "listening": ["LISTEN tenant", "LISTEN insula", "NOTIFY tenant, 'hello'", "SELECT pg_notify('insula', repeat('x', 7000))", "COMMIT"],
    "locks that stay": [
        "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_lock(7301190416)", "SELECT pg_advisory_lock_shared(1, 2)",
    ],
    "statements that stay": ["PREPARE mine AS SELECT * FROM app.project", "EXECUTE mine"],
    "all statements gone": ["DEALLOCATE ALL"],
    "the plans discarded": ["DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP"],
    "everything discarded, outside of the transaction": ["COMMIT", "DISCARD ALL"],
    "another role": [
        "SET ROLE app_owner", "SET ROLE app_door", "SET ROLE app_platform", "SET ROLE postgres", "SET ROLE app_rw", "SET ROLE NONE",
        "SET SESSION AUTHORIZATION app_platform", "SET SESSION AUTHORIZATION DEFAULT", "RESET ROLE",
        "SELECT set_config('role', 'app_owner', false)", "SELECT set_config('session_authorization', 'app_owner', false)",
    ],
    "all settings reset": ["RESET ALL", "SELECT * FROM app.project"],
    "a library": ["LOAD 'dblink'", "LOAD '$libdir/plpgsql'", "LOAD '$libdir/plugins/anything'"],
    "its own random numbers": ["SELECT setseed(0.5)", "SET seed = 0.5"],
}

TRANSACTIONS = {
    "a commit inside": ["COMMIT", "SELECT * FROM app.project", "SELECT current_setting('app.context', true)"],
    "a commit and a new transaction inside": ["COMMIT", "BEGIN", "SELECT * FROM app.project", "SAVEPOINT mine"],
    "a chain of transactions": ["COMMIT AND CHAIN", "SELECT * FROM app.project", "ROLLBACK AND CHAIN"],
    "a rollback inside": ["ROLLBACK", "SELECT * FROM app.project"],
    "a context replayed in the next transaction": [
        "SELECT set_config('kept.context', current_setting('app.context'), false)", "COMMIT", "BEGIN",
        "SELECT set_config('app.context', current_setting('kept.context'), true)", "SELECT * FROM app.project",
    ],
    "a context replayed in the transaction of one message": [
        ("SELECT set_config('kept.context', current_setting('app.context'), false); COMMIT; BEGIN;"
        " SELECT set_config('app.context', current_setting('kept.context'), false); COMMIT"),
    ],
    "savepoints": [
        "SAVEPOINT x", "SELECT set_config('app.context', '', true)", "ROLLBACK TO x", "RELEASE x", "SELECT * FROM app.project",
    ],
    "a transaction prepared for later": ["PREPARE TRANSACTION 'later'", "COMMIT PREPARED 'later'"],
    "a transaction left failed": ["SELECT 1/0", "BEGIN", "SELECT 1/0"],
    "a foreign snapshot": ["SELECT pg_export_snapshot()", "SET TRANSACTION SNAPSHOT '00000003-00000001-1'"],
    "its own backend ended": ["SELECT pg_terminate_backend(pg_backend_pid())"],
    "its own statement cancelled": ["SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)"],
    "constraints deferred": ["SET CONSTRAINTS ALL DEFERRED"],
}

ROWS = {
    "the neighbour's rows by name": [
        "SELECT * FROM app.project WHERE tenant_id = '{b}'", "SELECT * FROM app.organization WHERE id = '{b}'",
        "TABLE app.project", "SELECT * FROM ONLY app.project", "SELECT count(*) FROM app.project WHERE tenant_id = '{b}'",
    ],
    "rows in errors": [
        "SELECT * FROM app.project WHERE name::integer = 1", "SELECT * FROM app.project WHERE 1 / (length(name) - length(name)) = 1",
        "SELECT * FROM app.project WHERE CAST(metadata AS text)::integer = 1", "SELECT name::xml FROM app.project",
        "SELECT jsonb_path_query(metadata, 'strict $.nothing') FROM app.project",
    ],
    "rows through functions that run SQL": [
        "SELECT query_to_xml('SELECT * FROM app.project', true, false, '')", "SELECT table_to_xml('app.project', true, false, '')",
        "SELECT schema_to_xml('app', true, false, '')", "SELECT database_to_xml(true, false, '')",
        "SELECT * FROM ts_stat('SELECT to_tsvector(name) FROM app.project')", "SELECT query_to_xml('SELECT * FROM app.credential', true, false, '')",
        "SELECT ts_rewrite('a'::tsquery, 'SELECT to_tsquery(key), to_tsquery(key) FROM app.project')",
    ],
    "rows under the table": [
        "SELECT ctid, tableoid, xmin, * FROM app.project WHERE ctid = '(0,1)'", "SELECT * FROM app.project TABLESAMPLE SYSTEM (100)",
        "SELECT * FROM app.project FOR UPDATE SKIP LOCKED", "SELECT * FROM app.project WHERE ctid < '(9999,1)'",
        "SELECT (SELECT p FROM app.project p LIMIT 1), row_to_json(q) FROM app.project q",
        "SELECT * FROM currtid2('app.project', '(0,1)')",
    ],
    "rows through every join": [
        "SELECT p.name, o.name FROM app.project p FULL JOIN app.organization o ON true",
        "SELECT * FROM app.membership m, LATERAL (SELECT * FROM app.project p WHERE p.tenant_id <> m.tenant_id) q",
        "WITH RECURSIVE r AS (SELECT id FROM app.project UNION SELECT p.id FROM app.project p, r) SELECT * FROM r",
        "SELECT * FROM app.project WHERE EXISTS (SELECT FROM app.event e WHERE e.tenant_id = '{b}')",
        "SELECT string_agg(name, ',') OVER (), count(*) OVER () FROM app.project",
    ],
    "rows that are counted": [
        "EXPLAIN (ANALYZE, VERBOSE, BUFFERS, FORMAT JSON) SELECT * FROM app.project WHERE tenant_id = '{b}'",
        "SELECT reltuples, relpages FROM pg_class WHERE relname = 'project'", "SELECT * FROM pg_stat_user_tables",
        "SELECT * FROM pg_stats WHERE schemaname = 'app'", "SELECT * FROM pg_statistic", "SELECT * FROM pg_stats_ext",
    ],
    "the neighbour's rows changed": [
        "UPDATE app.project SET name = 'mine' WHERE tenant_id = '{b}' RETURNING *", "DELETE FROM app.project WHERE tenant_id = '{b}' RETURNING *",
        "UPDATE app.project SET tenant_id = '{b}'", "UPDATE app.project SET id = '{b_project}'",
        "UPDATE app.project p SET name = q.name FROM app.project q WHERE q.tenant_id <> p.tenant_id RETURNING p.name, q.name",
        "DELETE FROM app.membership WHERE tenant_id = '{b}'", "UPDATE app.organization SET name = 'mine' WHERE id = '{b}'",
        'UPDATE app."user" SET name = \'mine\' WHERE id = \'{b_user}\'',
    ],
    "rows planted with the neighbour": [
        "INSERT INTO app.team (tenant_id, id, name, name_norm) VALUES ('{b}', gen_random_uuid(), 'x', 'x')",
        ("INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, data, context) VALUES"
        " ('{b}', gen_random_uuid(), 'x', 1, 'user', 'x', '{{}}', '{{}}')"),
        "INSERT INTO app.outbox (id, task, payload, tenant_id, user_id) VALUES (gen_random_uuid(), 'x', '{{}}', '{b}', '{b_user}')",
        "INSERT INTO app.outbox (id, task, payload, tenant_id, user_id) VALUES (gen_random_uuid(), 'x', '{{}}', NULL, NULL)",
        "INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer) VALUES ('{b_user}', 'x', 'x', 'x')",
    ],
    "conflicts with the neighbour's rows": [
        "INSERT INTO app.team (id, name, name_norm) SELECT '{b_project}', 'x', 'x' ON CONFLICT DO NOTHING RETURNING *",
        "INSERT INTO app.project SELECT * FROM app.project ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name RETURNING *",
        "MERGE INTO app.project p USING (SELECT '{b_project}'::uuid AS id) s ON p.id = s.id WHEN MATCHED THEN UPDATE SET name = 'mine'",
    ],
    "copies": [
        "COPY app.project TO STDOUT", "COPY (SELECT * FROM app.project) TO STDOUT", "COPY app.project FROM STDIN",
        "COPY app.project TO '/tmp/stolen'", "COPY app.project TO PROGRAM 'cat'", "COPY app.team FROM '/etc/passwd'",
    ],
    "rows scanned in parallel": [
        "SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0", "SET min_parallel_table_scan_size = 0",
        "SET max_parallel_workers_per_gather = 4", "SELECT set_config('debug_parallel_query', 'on', false)",
        "SELECT count(*) FROM app.project", "SELECT * FROM app.event e JOIN app.project p ON true",
    ],
    "tables behind the doors": [
        "SELECT * FROM app.credential", "SELECT * FROM app.password", "SELECT * FROM app.organization_slug", "SELECT * FROM app.door_key",
        "SELECT * FROM app.outbox", "SELECT * FROM app.tick", "SELECT * FROM app.operator", "SELECT * FROM app.operator_action",
        "SELECT * FROM migration.version", "SELECT count(*) FROM app.credential", "INSERT INTO app.operator (user_id) VALUES ('{b_user}')",
    ],
}

DEFINITIONS = {
    "everything that can be created": [
        "CREATE TABLE app.mine (x int)", "CREATE TABLE mine (x int)", "CREATE TEMP TABLE project (x int)", "CREATE UNLOGGED TABLE public.x (y int)",
        "SELECT * INTO app.mine FROM app.project", "SELECT * INTO TEMP project FROM app.project", "CREATE SCHEMA mine",
        "CREATE SCHEMA AUTHORIZATION app_rw", "CREATE VIEW app.mine AS SELECT 1", "CREATE TEMP VIEW project AS SELECT 1",
        "CREATE FUNCTION app.now() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION pg_temp.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION public.now() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE PROCEDURE pg_temp.p() LANGUAGE sql AS 'SELECT 1'",
        "CREATE SEQUENCE pg_temp.s", "CREATE TYPE app.mine AS ENUM ('x')", "CREATE DOMAIN pg_temp.uuid AS text", "CREATE INDEX ON app.project (name)",
        "CREATE OPERATOR app.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = uuid_ne)", "CREATE CAST (uuid AS integer) WITH INOUT",
        "CREATE AGGREGATE app.mine (int) (SFUNC = int4pl, STYPE = int)", 'CREATE COLLATION app.mine FROM "C"',
        "CREATE STATISTICS app.mine ON name, key FROM app.project", "CREATE TEXT SEARCH CONFIGURATION app.mine (COPY = simple)",
        "CREATE TRIGGER t BEFORE INSERT ON app.project FOR EACH ROW EXECUTE FUNCTION app.wait_until_due()",
        "CREATE RULE r AS ON SELECT TO app.project DO INSTEAD SELECT 1", "CREATE POLICY mine ON app.project USING (true)",
        "CREATE ROLE mine", "CREATE DATABASE mine", "CREATE EXTENSION dblink", "CREATE EXTENSION plpgsql SCHEMA app", "CREATE LANGUAGE plperl",
        "CREATE PUBLICATION mine FOR ALL TABLES", "CREATE SUBSCRIPTION mine CONNECTION '' PUBLICATION x", "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE FOREIGN DATA WRAPPER w", "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION app.wait_until_due()",
        "CREATE TABLESPACE t LOCATION '/tmp'", "CREATE ACCESS METHOD m TYPE INDEX HANDLER bthandler", "CREATE TABLE app.mine () INHERITS (app.project)",
        "CREATE TABLE app.event_mine PARTITION OF app.event DEFAULT", "CREATE MATERIALIZED VIEW app.m AS SELECT * FROM app.project",
    ],
    "everything that can be altered": [
        "ALTER TABLE app.project DISABLE ROW LEVEL SECURITY", "ALTER TABLE app.project NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE app.project OWNER TO app_rw", "ALTER POLICY isolation ON app.project USING (true)", "DROP POLICY isolation ON app.project",
        "ALTER FUNCTION app.tenant_id() RESET ALL", "ALTER ROLE app_rw BYPASSRLS", "ALTER ROLE app_rw SUPERUSER", "ALTER ROLE app_door LOGIN",
        "ALTER SYSTEM SET log_statement = 'all'", "GRANT app_owner TO app_rw", "GRANT SELECT ON app.credential TO app_rw",
        "GRANT SELECT ON app.project TO PUBLIC", "REVOKE ALL ON app.project FROM app_rw", "DROP OWNED BY app_rw", "DROP OWNED BY app_owner",
        "REASSIGN OWNED BY app_owner TO app_rw", "TRUNCATE app.project", "TRUNCATE app.event CASCADE", "DROP TABLE app.project",
        "COMMENT ON TABLE app.project IS 'class: platform'", "ALTER DATABASE postgres SET row_security = off", "VACUUM app.project",
        "ANALYZE app.project", "REINDEX TABLE app.project", "CLUSTER app.project", "REFRESH MATERIALIZED VIEW app.m", "CHECKPOINT",
        "SECURITY LABEL ON TABLE app.project IS 'x'", "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT ALL ON TABLES TO app_rw",
        "ALTER TABLE app.project ENABLE REPLICA TRIGGER ALL", "SET session_replication_role = replica",
    ],
    "code": [
        "DO $$ BEGIN PERFORM 1; END $$", "DO LANGUAGE plpgsql $$ BEGIN END $$", "DO LANGUAGE internal 'x'", "CALL app.enter(NULL, NULL)",
        "SELECT plpgsql_call_handler()", "SELECT app.wait_until_due()",
    ],
    "large objects": [
        "SELECT lo_creat(-1)", "SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_put(1, 0, 'x')", "SELECT lo_get(1)",
        "SELECT lo_open(1, 262144)", "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/tmp/x')", "SELECT lo_unlink(1)",
        "SELECT loread(0, 100)", "SELECT lowrite(0, 'x')", "SELECT * FROM pg_largeobject", "SELECT lo_truncate(0, 1)",
    ],
    "files and other servers": [
        "SELECT pg_read_file('postgresql.conf')", "SELECT pg_read_binary_file('PG_VERSION')", "SELECT * FROM pg_ls_dir('.')",
        "SELECT * FROM pg_stat_file('PG_VERSION')", "SELECT * FROM pg_ls_waldir()", "SELECT * FROM pg_ls_logdir()", "SELECT pg_current_logfile()",
        "SELECT dblink('host=127.0.0.1', 'SELECT 1')", "SELECT dblink_connect('dbname=postgres')", "SELECT * FROM pg_hba_file_rules",
        "SELECT * FROM pg_file_settings", "SELECT pg_logical_slot_get_changes('s', NULL, NULL)", "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
        "SELECT pg_logical_emit_message(true, 'x', 'y')", "SELECT * FROM pg_walinspect", "SELECT pg_reload_conf()", "SELECT pg_rotate_logfile()",
    ],
    "the system's own tables": [
        "SELECT * FROM pg_authid", "SELECT * FROM pg_shadow", "SELECT * FROM pg_user_mappings", "SELECT * FROM pg_subscription",
        "SELECT prosrc FROM pg_proc WHERE pronamespace = 'app'::regnamespace", "SELECT * FROM pg_stat_activity", "SELECT * FROM pg_stat_ssl",
        "SELECT pg_stat_get_activity(NULL)", "SELECT * FROM pg_backend_memory_contexts", "SELECT * FROM pg_shmem_allocations",
        "SELECT * FROM pg_prepared_xacts", "SELECT * FROM pg_replication_slots", "SELECT * FROM pg_db_role_setting", "SELECT pg_log_backend_memory_contexts(1)",
    ],
}

DOORS = {
    "doors without a key": [
        "SELECT * FROM app.enter(NULL, '{b}')", "SELECT * FROM app.enter('', '{b}')", "SELECT * FROM app.enter(sha256('x'), '{b}')",
        "SELECT app.set_context('{b}', '{b_user}')", "SELECT app.context_mac('x')", "SELECT app.clear_context()", "SELECT app.enter_platform('x')",
        "SELECT * FROM app.enter_job('{b_project}', '')", "SELECT * FROM app.start_job('{b_project}', '', 10)",
    ],
    "doors of other logins": [
        "SELECT app.sign_in_recipe('x')", "SELECT app.password_of_session('x')", "SELECT app.purge_credentials('0', 1000)",
        "SELECT app.claim_jobs('{{}}', 1, 1, 1, '{b}')", "SELECT app.create_event_partitions(now(), 1)", "SELECT app.purge_organizations(1)",
    ],
    "doors inside the context": [
        "SELECT * FROM app.my_organizations()", "SELECT * FROM app.my_sessions()", "SELECT app.revoke_my_session('{b_project}')",
        "SELECT app.arm_credential('{b_project}', sha256('x'), '1 day')", "SELECT * FROM app.my_invitations()",
        "SELECT * FROM app.begin_idempotent('x')", "SELECT app.arm_invitations(ARRAY['{b_project}'::uuid], ARRAY[sha256('x')])",
    ],
}

EXTREMES = {
    "ten megabytes": ["SELECT length(repeat('x', 10000000))", "SELECT repeat('x', 10000000)"],
    "a deep expression": ["SELECT " + "(" * 3000 + "1" + ")" * 3000],
    "a long statement": ["SELECT 1 WHERE 1 IN (" + ",".join(["1"] * 50_000) + ")"],
    "many statements in one message": ["SELECT 1; SELECT * FROM app.project; SET app.context = '{b}'; SELECT 2"],
    "a regular expression that never ends": ["SET statement_timeout = 100", "SELECT repeat('a', 40) ~ '(a*)*b(a*)*c(a*)*d'"],
    "a wait": ["SET statement_timeout = 50", "SELECT pg_sleep(1)"],
    "nothing": ["", ";", "-- nothing", "/* nothing */"],
}

HOSTILE = FORGED_CONTEXTS | SESSION_STATE | TRANSACTIONS | ROWS | DEFINITIONS | DOORS | EXTREMES
