-- Versions of keys that nothing needs any more: a newer one is in use, and no credential of before it is alive, or no
-- cursor of before it was made within a month. Returns how many were forgotten.
CREATE FUNCTION app.forget_keys() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    forgotten integer;
BEGIN
    DELETE FROM app.key AS old
     USING app.key AS newer
     WHERE newer.purpose = old.purpose AND newer.active_from > old.active_from AND newer.active_from <= now()
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
