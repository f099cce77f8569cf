"""SQL that would outlive its transaction, or end it: settings, cursors, locks, statements, commits."""

SESSION_STATE = {
    "read-only sessions": [
        "SET default_transaction_read_only = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ],
    "sessions that wait for a quiet moment": [
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"
    ],
    "sessions of another isolation": ["SET default_transaction_isolation = 'serializable'"],
    "short timeouts": [
        "SET statement_timeout = 50",
        "SET lock_timeout = 1",
        "SET idle_in_transaction_session_timeout = 60000",
    ],
    "a statement_timeout that the next BEGIN meets": ["SET statement_timeout = 1"],
    "a session that ends when it is idle": ["SET idle_session_timeout = 1"],
    "transactions that end at once": ["SET transaction_timeout = 1"],
    "another search_path": ["SET search_path = pg_temp, public, app", "SELECT set_config('search_path', 'app', false)"],
    "row security off": ["SET row_security = off", "SELECT * FROM app.project"],
    "another language of values": [
        "SET bytea_output = 'escape'",
        "SET DateStyle = 'SQL, DMY'",
        "SET IntervalStyle = 'sql_standard'",
        "SET TimeZone = 'Asia/Kathmandu'",
        "SET extra_float_digits = -15",
        "SET xmlbinary = 'hex'",
    ],
    "another alphabet": ["SET client_encoding = 'LATIN1'", "SET client_encoding = 'SQL_ASCII'", "SET NAMES 'EUC_JP'"],
    "another grammar": [
        "SET standard_conforming_strings = off",
        "SET transform_null_equals = on",
        "SET array_nulls = off",
        "SET quote_all_identifiers = on",
        "SET backslash_quote = on",
    ],
    "other plans": [
        "SET plan_cache_mode = force_generic_plan",
        "SET enable_indexscan = off",
        "SET enable_bitmapscan = off",
        "SET enable_indexonlyscan = off",
        "SELECT * FROM app.project",
        "SET jit = off",
        "SET from_collapse_limit = 1",
    ],
    "cursors that stay": [
        "DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM app.project",
        "DECLARE binary_one BINARY CURSOR FOR SELECT name FROM app.project",
        "FETCH ALL FROM kept",
        "MOVE ABSOLUTE 0 IN kept",
    ],
    "a cursor over everything, kept beyond the commit": [
        "COMMIT",
        "BEGIN",
        "DECLARE kept CURSOR WITH HOLD FOR SELECT current_setting('app.context', true), now()",
        "COMMIT",
    ],
    "listening": [
        "LISTEN tenant",
        "LISTEN insula",
        "NOTIFY tenant, 'hello'",
        "SELECT pg_notify('insula', repeat('x', 7000))",
        "COMMIT",
    ],
    "locks that stay": [
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_advisory_lock(7301190416)",
        "SELECT pg_advisory_lock_shared(1, 2)",
    ],
    "statements that stay": ["PREPARE mine AS SELECT * FROM app.project", "EXECUTE mine"],
    "all statements gone": ["DEALLOCATE ALL"],
    "the plans discarded": ["DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP"],
    "everything discarded, outside of the transaction": ["COMMIT", "DISCARD ALL"],
    "another role": [
        "SET ROLE app_owner",
        "SET ROLE app_door",
        "SET ROLE app_platform",
        "SET ROLE postgres",
        "SET ROLE app_rw",
        "SET ROLE NONE",
        "SET SESSION AUTHORIZATION app_platform",
        "SET SESSION AUTHORIZATION DEFAULT",
        "RESET ROLE",
        "SELECT set_config('role', 'app_owner', false)",
        "SELECT set_config('session_authorization', 'app_owner', false)",
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
        "SELECT set_config('kept.context', current_setting('app.context'), false)",
        "COMMIT",
        "BEGIN",
        "SELECT set_config('app.context', current_setting('kept.context'), true)",
        "SELECT * FROM app.project",
    ],
    "a context replayed in the transaction of one message": [
        (
            "SELECT set_config('kept.context', current_setting('app.context'), false); COMMIT; BEGIN;"
            " SELECT set_config('app.context', current_setting('kept.context'), false); COMMIT"
        ),
    ],
    "savepoints": [
        "SAVEPOINT x",
        "SELECT set_config('app.context', '', true)",
        "ROLLBACK TO x",
        "RELEASE x",
        "SELECT * FROM app.project",
    ],
    "a transaction prepared for later": ["PREPARE TRANSACTION 'later'", "COMMIT PREPARED 'later'"],
    "a transaction left failed": ["SELECT 1/0", "BEGIN", "SELECT 1/0"],
    "a foreign snapshot": ["SELECT pg_export_snapshot()", "SET TRANSACTION SNAPSHOT '00000003-00000001-1'"],
    "its own backend ended": ["SELECT pg_terminate_backend(pg_backend_pid())"],
    "its own statement cancelled": ["SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)"],
    "constraints deferred": ["SET CONSTRAINTS ALL DEFERRED"],
}
