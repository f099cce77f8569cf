-- The operators' door: a live session of a user who is an operator. Everybody else is a stranger, and learns nothing
-- of the platform's plane. It sets no context: operators work on the platform's own tables, never inside a tenant.
CREATE FUNCTION app.enter_platform(
    secret_hash bytea, OUT verdict text, OUT user_id uuid, OUT credential_id uuid, OUT credential_kind text
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_row record;
    at timestamptz := transaction_timestamp();
BEGIN
    SELECT c.id, c.kind, c.user_id, c.last_used_at, o.user_id AS operator_id
      INTO found_row
      FROM app.credential c
      JOIN app."user" u ON u.id = c.user_id AND u.disabled_at IS NULL
      LEFT JOIN app.operator o ON o.user_id = c.user_id
     WHERE c.hash = secret_hash AND c.kind = 'session' AND c.revoked_at IS NULL AND c.expires_at > at
       AND c.last_used_at + c.idle_timeout > at;
    IF NOT FOUND THEN
        verdict := 'unauthenticated';
        RETURN;
    END IF;
    user_id := found_row.user_id;
    credential_id := found_row.id;
    credential_kind := found_row.kind;
    verdict := CASE WHEN found_row.operator_id IS NULL THEN 'stranger' ELSE 'admitted' END;
    IF found_row.last_used_at < at - interval '1 minute' THEN
        UPDATE app.credential SET last_used_at = at
         WHERE id = (SELECT id FROM app.credential WHERE id = found_row.id FOR UPDATE SKIP LOCKED);
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION app.enter_platform(bytea) TO app_platform;
