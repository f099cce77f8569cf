-- What a superuser grants once in each database, before the first migration (roles must exist: see README.md).
-- Everything PUBLIC could use to leave a session behind, to run code or to store bytes outside of tables is taken away.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO app_owner, app_door;
REVOKE EXECUTE ON FUNCTION
    lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea), lo_open(oid, integer),
    loread(integer, integer), lowrite(integer, bytea), lo_unlink(oid), lo_truncate(integer, integer),
    lo_truncate64(integer, bigint), lo_get(oid), lo_get(oid, bigint, integer)
    FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION app_owner;
CREATE SCHEMA IF NOT EXISTS migration AUTHORIZATION app_owner;
GRANT USAGE ON SCHEMA app TO app_rw, app_identity, app_platform, app_door;
GRANT USAGE ON SCHEMA migration TO app_rw, app_platform;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner, app_door REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
