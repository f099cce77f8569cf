-- What `insula provision` does, for an operator that makes the database itself. First, in the database postgres: the
-- roles. Their passwords come from Secrets (cluster.yaml, managed.roles).
CREATE ROLE app_door NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE app_migrator LOGIN INHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE app_rw LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE app_identity LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE app_platform LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
GRANT app_owner, app_door TO app_migrator;
DO $$
DECLARE login text;
BEGIN
    FOREACH login IN ARRAY ARRAY['app_rw', 'app_identity', 'app_platform'] LOOP
        EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', login, '15s');
        EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', login, '5s');
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', login, '30s');
        EXECUTE format('ALTER ROLE %I SET client_connection_check_interval = %L', login, '1s');
        EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog, pg_temp', login);
        EXECUTE format('ALTER ROLE %I SET temp_file_limit = %L', login, '1GB');
        EXECUTE format('ALTER ROLE %I SET jit = %L', login, 'off');
        EXECUTE format('ALTER ROLE %I SET timezone = %L', login, 'UTC');
    END LOOP;
END $$;
ALTER ROLE app_rw SET enable_sort = 'off';
