-- What a superuser grants once in each database, before the first migration (roles must exist: see README.md).
-- Everything PUBLIC could use to leave a session behind, to run code or to store bytes outside of tables is taken away.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO app_owner, app_door;
REVOKE EXECUTE ON FUNCTION
    lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea), lo_open(oid, integer),
    loread(integer, integer), lowrite(integer, bytea), lo_unlink(oid), lo_truncate(integer, integer),
    lo_truncate64(integer, bigint), lo_get(oid), lo_get(oid, bigint, integer), lo_close(integer),
    lo_lseek(integer, integer, integer), lo_lseek64(integer, bigint, integer), lo_tell(integer), lo_tell64(integer)
    FROM PUBLIC;
-- Advisory locks of a session outlive its transaction, and fill the table of locks for everybody.
REVOKE EXECUTE ON FUNCTION
    pg_advisory_lock(bigint), pg_advisory_lock(integer, integer), pg_advisory_lock_shared(bigint),
    pg_advisory_lock_shared(integer, integer), pg_advisory_xact_lock(bigint), pg_advisory_xact_lock(integer, integer),
    pg_advisory_xact_lock_shared(bigint), pg_advisory_xact_lock_shared(integer, integer), pg_try_advisory_lock(bigint),
    pg_try_advisory_lock(integer, integer), pg_try_advisory_lock_shared(bigint),
    pg_try_advisory_lock_shared(integer, integer), pg_try_advisory_xact_lock(bigint),
    pg_try_advisory_xact_lock(integer, integer), pg_try_advisory_xact_lock_shared(bigint),
    pg_try_advisory_xact_lock_shared(integer, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_try_advisory_xact_lock(bigint) TO app_door;
GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO app_owner; -- one migration at a time
-- Nor does anybody write into the log that outlives a rollback, or read how much another backend writes: of one that is
-- watched while a neighbour's request runs on it, that is the size of what they store (PostgreSQL 18).
DO $$
DECLARE
    taken regprocedure;
BEGIN
    FOR taken IN SELECT oid FROM pg_proc WHERE proname IN (
        'pg_logical_emit_message', 'pg_stat_get_backend_wal', 'pg_stat_get_backend_io') LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', taken);
    END LOOP;
END $$;
-- Nor may anybody end what others do over the same login; a door ends what goes on for too long.
REVOKE EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint), pg_cancel_backend(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO app_door;
GRANT pg_signal_backend, pg_read_all_stats TO app_door;
-- PostgreSQL may ask a condition before row security's own where the condition's functions promise to leak nothing. They
-- do not; but whoever sees how often they were asked (EXPLAIN, an error, the time it took) has searched everybody's rows. Only
-- ids may promise it: every key begins with them, and no page could be found by an index without.
DO $$
DECLARE
    promising regprocedure;
BEGIN
    FOR promising IN
        SELECT oid FROM pg_proc
         WHERE proleakproof AND NOT proargtypes::oid[] <@ ARRAY['uuid'::regtype::oid]
           AND pronamespace IS DISTINCT FROM to_regnamespace('app') -- ours, made below
    LOOP
        EXECUTE format('ALTER FUNCTION %s NOT LEAKPROOF', promising);
    END LOOP;
END $$;
-- Nor are ids compared before a policy is: what promises to leak nothing goes in front only where it costs less than ten
-- operators (order_qual_clauses); one of several counts half. Whether an index is used is not asked by cost.
DO $$
DECLARE
    comparing regprocedure;
BEGIN
    FOR comparing IN SELECT oid FROM pg_proc WHERE proleakproof AND oid <> 'uuid_eq(uuid, uuid)'::regprocedure LOOP
        EXECUTE format('ALTER FUNCTION %s COST 20', comparing);
    END LOOP;
END $$;
-- But the comparison that every policy is made of costs nothing, so that nothing is asked before it. PostgreSQL takes a join's
-- condition for what it was above a UNION ALL, where it named a column, and not for what that column is below: any function
-- of a row, which it would call before the policy wherever that is cheaper. ALTER FUNCTION knows no price of 0.
SET allow_system_table_mods = on;
UPDATE pg_proc SET procost = 0 WHERE oid = 'uuid_eq(uuid, uuid)'::regprocedure AND procost <> 0;
RESET allow_system_table_mods;
-- So is a document's part where it is asked for by a subscript; `->` remains.
ALTER TYPE jsonb SET (SUBSCRIPT = NONE);
CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION app_owner;
CREATE SCHEMA IF NOT EXISTS migration AUTHORIZATION app_owner;
GRANT USAGE ON SCHEMA app TO app_rw, app_identity, app_platform, app_door;
GRANT USAGE ON SCHEMA migration TO app_rw, app_platform;
-- Under row security an index answers only what promises to leak nothing. So lists ask about texts and moments by comparisons
-- of our own, which promise it as those of ids do: PostgreSQL's functions under other names, at a price that keeps them
-- behind the policy, with constants for estimates. No index answers them but those of these two classes, and the catalogue
-- check refuses one that does not begin with whose a row is.
DO $$
DECLARE
    kind record;
    comparing record;
BEGIN
    FOR kind IN
        SELECT * FROM (VALUES ('text', 'text', 'text', 'bttextcmp', 'btvarstrequalimage'),
                              ('moment', 'timestamptz', 'timestamp', 'timestamptz_cmp', 'btequalimage'))
            AS v (name, type, source, ordering, image)
         WHERE NOT EXISTS (SELECT FROM pg_opclass
                            WHERE opcnamespace = 'app'::regnamespace AND opcname = v.name || '_key_ops')
    LOOP
        FOR comparing IN
            SELECT * FROM (VALUES ('lt', '#<', '#>', 'positionsel'), ('le', '#<=', '#>=', 'positionsel'),
                                  ('eq', '#=', '#=', 'areasel'), ('ge', '#>=', '#<=', 'positionsel'),
                                  ('gt', '#>', '#<', 'positionsel')) AS v (name, sign, mirrored, estimate)
        LOOP
            EXECUTE format(
                'CREATE FUNCTION app.%1$I(%2$s, %2$s) RETURNS boolean'
                ' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE COST 20 AS %3$L',
                kind.name || '_' || comparing.name, kind.type,
                CASE WHEN kind.name || comparing.name = 'texteq' THEN 'texteq' ELSE kind.source || '_' || comparing.name END);
            EXECUTE format('REVOKE EXECUTE ON FUNCTION app.%I FROM PUBLIC', kind.name || '_' || comparing.name);
            EXECUTE format('GRANT EXECUTE ON FUNCTION app.%I TO app_rw, app_door', kind.name || '_' || comparing.name);
            EXECUTE format('ALTER FUNCTION app.%I OWNER TO app_owner', kind.name || '_' || comparing.name);
            EXECUTE format(
                'CREATE OPERATOR app.%1$s (FUNCTION = app.%2$I, LEFTARG = %3$s, RIGHTARG = %3$s,'
                ' COMMUTATOR = OPERATOR(app.%4$s), RESTRICT = %5$I)',
                comparing.sign, kind.name || '_' || comparing.name, kind.type, comparing.mirrored, comparing.estimate);
        END LOOP;
        EXECUTE format(
            'CREATE OPERATOR CLASS app.%1$I FOR TYPE %2$s USING btree AS OPERATOR 1 app.#<, OPERATOR 2 app.#<=,'
            ' OPERATOR 3 app.#=, OPERATOR 4 app.#>=, OPERATOR 5 app.#>, FUNCTION 1 %3$I(%2$s, %2$s),'
            ' FUNCTION 4 (%2$s, %2$s) %4$I(oid)',
            kind.name || '_key_ops', kind.type, kind.ordering, kind.image);
    END LOOP;
END $$;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner, app_door REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
-- No login changes the schema, not even by DROP OWNED, which takes a role's own policies and rights with it.
CREATE OR REPLACE FUNCTION migration.refuse_logins() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_user IN ('app_rw', 'app_identity', 'app_platform') THEN
        RAISE EXCEPTION '% changes no schema', current_user USING ERRCODE = '42501';
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION migration.refuse_logins() FROM PUBLIC;
ALTER FUNCTION migration.refuse_logins() OWNER TO app_owner;
DROP EVENT TRIGGER IF EXISTS logins_change_no_schema;
CREATE EVENT TRIGGER logins_change_no_schema ON ddl_command_start EXECUTE FUNCTION migration.refuse_logins();
ALTER EVENT TRIGGER logins_change_no_schema ENABLE ALWAYS;
