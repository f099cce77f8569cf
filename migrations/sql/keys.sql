-- Versions of keys that nothing needs any more: a newer one has been in use for an hour, and no credential of before it is
-- alive, or no cursor of before it was made within a month. Returns how many were forgotten.
CREATE FUNCTION app.forget_keys() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    forgotten integer;
BEGIN
    DELETE FROM app.key AS old
     USING app.key AS newer
     WHERE newer.purpose = old.purpose AND newer.active_from > old.active_from
       -- Until then a transaction may be on its way that began before, or a process whose clock is behind.
       AND newer.active_from < now() - interval '1 hour'
       AND CASE WHEN old.purpose IN ('credential', 'mailed_token') THEN NOT EXISTS (
                    SELECT FROM app.credential AS c
                     WHERE c.revoked_at IS NULL AND c.expires_at > now()
                       -- The smallest UUIDv7 of that moment (RFC 9562, section 5.7).
                       AND c.id < rpad(lpad(to_hex((extract(epoch FROM newer.active_from) * 1000)::bigint), 12, '0'),
                                       32, '0')::uuid)
                ELSE newer.active_from < now() - interval '30 days' END;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;
GRANT EXECUTE ON FUNCTION app.forget_keys() TO app_platform;

-- The first version of a key, of which there is none yet. Later ones are the migrator's (`insula rotate`): one that anybody
-- could add would supersede what is in use.
CREATE FUNCTION app.add_first_key(purpose text, master text, wrapped bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO app.key (purpose, active_from, master, wrapped)
    SELECT $1, timestamptz '2000-01-01 UTC', $2, $3
     WHERE NOT EXISTS (SELECT FROM app.key AS k WHERE k.purpose = $1)
    ON CONFLICT DO NOTHING
$$;
GRANT EXECUTE ON FUNCTION app.add_first_key(text, text, bytea) TO app_platform;
