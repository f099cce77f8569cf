"""SQL that asks for the neighbour's rows, or changes them."""

ROWS = {
    "the neighbour's rows by name": [
        "SELECT * FROM app.project WHERE tenant_id = '{b}'",
        "SELECT * FROM app.organization WHERE id = '{b}'",
        "TABLE app.project",
        "SELECT * FROM ONLY app.project",
        "SELECT count(*) FROM app.project WHERE tenant_id = '{b}'",
    ],
    "rows in errors": [
        "SELECT * FROM app.project WHERE name::integer = 1",
        "SELECT * FROM app.project WHERE 1 / (length(name) - length(name)) = 1",
        "SELECT * FROM app.project WHERE CAST(metadata AS text)::integer = 1",
        "SELECT name::xml FROM app.project",
        "SELECT jsonb_path_query(metadata, 'strict $.nothing') FROM app.project",
    ],
    "rows through functions that run SQL": [
        "SELECT query_to_xml('SELECT * FROM app.project', true, false, '')",
        "SELECT table_to_xml('app.project', true, false, '')",
        "SELECT schema_to_xml('app', true, false, '')",
        "SELECT database_to_xml(true, false, '')",
        "SELECT * FROM ts_stat('SELECT to_tsvector(name) FROM app.project')",
        "SELECT query_to_xml('SELECT * FROM app.credential', true, false, '')",
        "SELECT ts_rewrite('a'::tsquery, 'SELECT to_tsquery(key), to_tsquery(key) FROM app.project')",
    ],
    "rows under the table": [
        "SELECT ctid, tableoid, xmin, * FROM app.project WHERE ctid = '(0,1)'",
        "SELECT * FROM app.project TABLESAMPLE SYSTEM (100)",
        "SELECT * FROM app.project FOR UPDATE SKIP LOCKED",
        "SELECT * FROM app.project WHERE ctid < '(9999,1)'",
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
        "SELECT reltuples, relpages FROM pg_class WHERE relname = 'project'",
        "SELECT * FROM pg_stat_user_tables",
        "SELECT * FROM pg_stats WHERE schemaname = 'app'",
        "SELECT * FROM pg_statistic",
        "SELECT * FROM pg_stats_ext",
    ],
    "the neighbour's rows changed": [
        "UPDATE app.project SET name = 'mine' WHERE tenant_id = '{b}' RETURNING *",
        "DELETE FROM app.project WHERE tenant_id = '{b}' RETURNING *",
        "UPDATE app.project SET tenant_id = '{b}'",
        "UPDATE app.project SET id = '{b_project}'",
        "UPDATE app.project p SET name = q.name FROM app.project q WHERE q.tenant_id <> p.tenant_id RETURNING p.name, q.name",
        "DELETE FROM app.membership WHERE tenant_id = '{b}'",
        "UPDATE app.organization SET name = 'mine' WHERE id = '{b}'",
        "UPDATE app.\"user\" SET name = 'mine' WHERE id = '{b_user}'",
        "UPDATE app.account_event SET data = '{{}}' WHERE user_id = '{b_user}'",
        "DELETE FROM app.account_event WHERE user_id = '{b_user}' RETURNING *",
    ],
    "rows planted with the neighbour": [
        "INSERT INTO app.team (tenant_id, id, name, name_norm) VALUES ('{b}', gen_random_uuid(), 'x', 'x')",
        (
            "INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, data, context) VALUES"
            " ('{b}', gen_random_uuid(), 'x', 1, 'user', 'x', '{{}}', '{{}}')"
        ),
        "INSERT INTO app.outbox (id, task, payload, tenant_id, user_id) VALUES (gen_random_uuid(), 'x', '{{}}', '{b}', '{b_user}')",
        "INSERT INTO app.outbox (id, task, payload, tenant_id, user_id) VALUES (gen_random_uuid(), 'x', '{{}}', NULL, NULL)",
        "INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer) VALUES ('{b_user}', 'x', 'x', 'x')",
        (
            "INSERT INTO app.account_event (user_id, id, type, version, target_type, data, context) VALUES"
            " ('{b_user}', gen_random_uuid(), 'x', 1, 'x', '{{}}', '{{}}')"
        ),
    ],
    "conflicts with the neighbour's rows": [
        "INSERT INTO app.team (id, name, name_norm) SELECT '{b_project}', 'x', 'x' ON CONFLICT DO NOTHING RETURNING *",
        "INSERT INTO app.project SELECT * FROM app.project ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name RETURNING *",
        "MERGE INTO app.project p USING (SELECT '{b_project}'::uuid AS id) s ON p.id = s.id WHEN MATCHED THEN UPDATE SET name = 'mine'",
    ],
    "copies": [
        "COPY app.project TO STDOUT",
        "COPY (SELECT * FROM app.project) TO STDOUT",
        "COPY app.project FROM STDIN",
        "COPY app.project TO '/tmp/stolen'",
        "COPY app.project TO PROGRAM 'cat'",
        "COPY app.team FROM '/etc/passwd'",
    ],
    "rows scanned in parallel": [
        "SET parallel_setup_cost = 0",
        "SET parallel_tuple_cost = 0",
        "SET min_parallel_table_scan_size = 0",
        "SET max_parallel_workers_per_gather = 4",
        "SELECT set_config('debug_parallel_query', 'on', false)",
        "SELECT count(*) FROM app.project",
        "SELECT * FROM app.event e JOIN app.project p ON true",
    ],
    "tables behind the doors": [
        "SELECT * FROM app.credential",
        "SELECT * FROM app.password",
        "SELECT * FROM app.organization_slug",
        "SELECT * FROM app.door_key",
        "SELECT * FROM app.outbox",
        "SELECT * FROM app.tick",
        "SELECT * FROM app.operator",
        "SELECT * FROM app.operator_action",
        "SELECT * FROM migration.version",
        "SELECT count(*) FROM app.credential",
        "INSERT INTO app.operator (user_id) VALUES ('{b_user}')",
    ],
}
