-- The signed context: which tenant and user a transaction acts for, and proof that a door said so.
--
-- app.context holds hex(tenant || user || mac), transaction-local. The mac is HMAC-SHA256 over tenant, user, the
-- transaction's timestamp and the backend's pid, so a context is worthless in any other transaction. Values are
-- hashed in their binary form: text rendering depends on settings (TimeZone, DateStyle) that any SQL may change.

CREATE TABLE app.door_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ipad bytea NOT NULL CHECK (length(ipad) = 64),
    opad bytea NOT NULL CHECK (length(opad) = 64),
    previous_ipad bytea CHECK (length(previous_ipad) = 64),
    previous_opad bytea CHECK (length(previous_opad) = 64),
    CHECK ((previous_ipad IS NULL) = (previous_opad IS NULL))
);
COMMENT ON TABLE app.door_key IS 'class: registry';
-- Its owner is not asked; whoever may read every table (pg_read_all_data) sees nothing here either.
ALTER TABLE app.door_key ENABLE ROW LEVEL SECURITY;
COMMENT ON COLUMN app.door_key.previous_ipad IS 'during a rotation: what transactions of before were signed with';

-- A fresh random key: two 256-bit halves out of eight strong random UUIDs, padded for HMAC.
CREATE FUNCTION app.new_door_key(OUT ipad bytea, OUT opad bytea)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
        || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
BEGIN
    ipad := key;
    opad := key;
    FOR i IN 0..63 LOOP
        ipad := set_byte(ipad, i, get_byte(key, i) # 54);   -- 0x36, RFC 2104
        opad := set_byte(opad, i, get_byte(key, i) # 92);   -- 0x5c
    END LOOP;
END $$;

INSERT INTO app.door_key (ipad, opad) SELECT * FROM app.new_door_key();

CREATE FUNCTION app.context_mac(body bytea) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key app.door_key;
BEGIN
    SELECT * INTO STRICT key FROM app.door_key;
    RETURN sha256(key.opad || sha256(key.ipad || body
        || timestamptz_send(transaction_timestamp()) || int4send(pg_backend_pid())));
END $$;

-- Only doors call this; nobody is granted EXECUTE. NULL stands for "no tenant" or "no user".
CREATE FUNCTION app.set_context(tenant uuid, person uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    body bytea := uuid_send(coalesce(tenant, nobody)) || uuid_send(coalesce(person, nobody));
BEGIN
    PERFORM set_config('app.context', encode(body || app.context_mac(body), 'hex'), true);
END $$;

CREATE FUNCTION app.clear_context() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ SELECT set_config('app.context', '', true) $$;

-- What a transaction of before a rotation of the key shows; asked only when the key of now did not sign it.
CREATE FUNCTION app.signed_before_rotation(context bytea) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key app.door_key;
BEGIN
    SELECT * INTO STRICT key FROM app.door_key;
    RETURN coalesce(substr(context, 33) = sha256(key.previous_opad || sha256(key.previous_ipad || substr(context, 1, 32)
        || timestamptz_send(transaction_timestamp()) || int4send(pg_backend_pid()))), false);
END $$;

-- The two functions below are what every policy asks. They repeat each other's verification instead of sharing it:
-- a nested call doubles their cost, and they run once per table reference of every statement. For the same reason they
-- set no search_path, which would be a fifth of their cost: each function, type and operator names its schema instead.
-- PARALLEL RESTRICTED, not SAFE: a worker has another pid, and marked SAFE the rows it scanned went missing silently.
CREATE FUNCTION app.tenant_id() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER AS $$
DECLARE
    context pg_catalog.bytea := pg_catalog.decode(pg_catalog.current_setting('app.context', true), 'hex');
    inner_pad pg_catalog.bytea;
    outer_pad pg_catalog.bytea;
BEGIN
    SELECT k.ipad, k.opad INTO STRICT inner_pad, outer_pad FROM app.door_key AS k;
    IF pg_catalog.substr(context, 33) OPERATOR(pg_catalog.=) pg_catalog.sha256(
        outer_pad OPERATOR(pg_catalog.||) pg_catalog.sha256(
            inner_pad OPERATOR(pg_catalog.||) pg_catalog.substr(context, 1, 32)
            OPERATOR(pg_catalog.||) pg_catalog.timestamptz_send(pg_catalog.transaction_timestamp())
            OPERATOR(pg_catalog.||) pg_catalog.int4send(pg_catalog.pg_backend_pid())))
    THEN
        RETURN CASE WHEN pg_catalog.encode(pg_catalog.substr(context, 1, 16), 'hex')
                OPERATOR(pg_catalog.<>) '00000000000000000000000000000000'
            THEN pg_catalog.encode(pg_catalog.substr(context, 1, 16), 'hex')::pg_catalog.uuid END;
    END IF;
    IF context IS NULL OR context OPERATOR(pg_catalog.=) '' THEN
        RETURN NULL;
    END IF;
    IF app.signed_before_rotation(context) THEN
        RETURN CASE WHEN pg_catalog.encode(pg_catalog.substr(context, 1, 16), 'hex')
                OPERATOR(pg_catalog.<>) '00000000000000000000000000000000'
            THEN pg_catalog.encode(pg_catalog.substr(context, 1, 16), 'hex')::pg_catalog.uuid END;
    END IF;
    RAISE EXCEPTION 'forged context' USING ERRCODE = '42501';
END $$;

CREATE FUNCTION app.user_id() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER AS $$
DECLARE
    context pg_catalog.bytea := pg_catalog.decode(pg_catalog.current_setting('app.context', true), 'hex');
    inner_pad pg_catalog.bytea;
    outer_pad pg_catalog.bytea;
BEGIN
    SELECT k.ipad, k.opad INTO STRICT inner_pad, outer_pad FROM app.door_key AS k;
    IF pg_catalog.substr(context, 33) OPERATOR(pg_catalog.=) pg_catalog.sha256(
        outer_pad OPERATOR(pg_catalog.||) pg_catalog.sha256(
            inner_pad OPERATOR(pg_catalog.||) pg_catalog.substr(context, 1, 32)
            OPERATOR(pg_catalog.||) pg_catalog.timestamptz_send(pg_catalog.transaction_timestamp())
            OPERATOR(pg_catalog.||) pg_catalog.int4send(pg_catalog.pg_backend_pid())))
    THEN
        RETURN CASE WHEN pg_catalog.encode(pg_catalog.substr(context, 17, 16), 'hex')
                OPERATOR(pg_catalog.<>) '00000000000000000000000000000000'
            THEN pg_catalog.encode(pg_catalog.substr(context, 17, 16), 'hex')::pg_catalog.uuid END;
    END IF;
    IF context IS NULL OR context OPERATOR(pg_catalog.=) '' THEN
        RETURN NULL;
    END IF;
    IF app.signed_before_rotation(context) THEN
        RETURN CASE WHEN pg_catalog.encode(pg_catalog.substr(context, 17, 16), 'hex')
                OPERATOR(pg_catalog.<>) '00000000000000000000000000000000'
            THEN pg_catalog.encode(pg_catalog.substr(context, 17, 16), 'hex')::pg_catalog.uuid END;
    END IF;
    RAISE EXCEPTION 'forged context' USING ERRCODE = '42501';
END $$;

-- Session state outlives a transaction, so each transaction begins by looking at its connection. RESET ALL, CLOSE ALL
-- and UNLISTEN run before this in the same message; what they cannot undo is a prepared statement planted by SQL.
-- A touched backend ends itself, which also takes it out of a pooler between us and the server.
CREATE FUNCTION app.prove_untouched() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_prepared_statements WHERE from_sql) THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
END $$;

-- A login may end its own connection, and no other one of its name.
CREATE FUNCTION app.end_session() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid());
END $$;

-- Transactions that have gone on for too long: timeouts are the session's own, and SQL that slipped in lifts them.
CREATE FUNCTION app.end_overdue(age interval) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended integer;
BEGIN
    SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) INTO ended
      FROM pg_stat_activity AS a
     WHERE a.datname = current_database() AND a.usename IN ('app_rw', 'app_identity')
       AND a.xact_start < least(clock_timestamp() - age, clock_timestamp() - interval '30 seconds');
    RETURN ended;
END $$;

-- Rotation, by the migrator only: contexts are signed with a new key from now on; those of transactions under way stay
-- good until app.forget_previous_door_key is called, which is when the last of them has ended.
CREATE FUNCTION app.rotate_door_key() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM app.door_key WHERE previous_ipad IS NOT NULL) THEN
        RAISE EXCEPTION 'another rotation of the door key is under way' USING ERRCODE = '55000';
    END IF;
    UPDATE app.door_key AS k SET previous_ipad = k.ipad, previous_opad = k.opad, ipad = n.ipad, opad = n.opad
      FROM app.new_door_key() AS n;
END $$;

CREATE FUNCTION app.forget_previous_door_key() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ UPDATE app.door_key SET previous_ipad = NULL, previous_opad = NULL $$;
