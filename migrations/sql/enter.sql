-- The door of every request: one call checks the credential, the membership and the organization, signs the context
-- and says what it found. It returns a verdict instead of raising, so that refusals can be recorded.
--
-- Verdicts: admitted | unauthenticated | stranger | member_suspended | organization_suspended | organization_deleted.
-- organization = NULL asks for the user's own plane (/v1/me): a context without a tenant.
CREATE FUNCTION app.enter(
    secret_hash bytea, organization uuid,
    OUT verdict text, OUT user_id uuid, OUT credential_id uuid, OUT credential_kind text,
    OUT membership_id uuid, OUT role text, OUT scope text[], OUT limits text
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_row record;
    at timestamptz := transaction_timestamp();
BEGIN
    PERFORM app.clear_context();  -- first: PERFORM sets FOUND
    SELECT c.id, c.kind, c.user_id, c.scope, c.last_used_at,
           o.id AS organization_id, o.suspended_at, o.deleted_at, o.limits,
           m.id AS membership_id, m.role, m.status
      INTO found_row
      FROM app.credential c
      JOIN app."user" u ON u.id = c.user_id AND u.disabled_at IS NULL
      LEFT JOIN app.membership m ON m.tenant_id = organization AND m.user_id = c.user_id
      LEFT JOIN app.organization o ON o.tenant_id = m.tenant_id AND o.id = m.tenant_id
     WHERE c.hash = secret_hash AND c.kind = 'session' AND c.revoked_at IS NULL AND c.expires_at > at
       AND c.last_used_at + c.idle_timeout > at;

    IF NOT FOUND THEN
        verdict := 'unauthenticated';
        RETURN;
    END IF;
    user_id := found_row.user_id;
    credential_id := found_row.id;
    credential_kind := found_row.kind;
    scope := found_row.scope;

    -- Minute granularity keeps the hot path free of writes; SKIP LOCKED keeps parallel requests from queueing here.
    IF found_row.last_used_at < at - interval '1 minute' THEN
        UPDATE app.credential SET last_used_at = at
         WHERE id = (SELECT id FROM app.credential WHERE id = found_row.id FOR UPDATE SKIP LOCKED);
    END IF;

    IF organization IS NULL THEN
        verdict := 'admitted';
        PERFORM app.set_context(NULL, user_id);
        RETURN;
    END IF;
    IF found_row.organization_id IS NULL THEN
        verdict := 'stranger';
        RETURN;
    END IF;
    membership_id := found_row.membership_id;
    role := found_row.role;
    limits := found_row.limits::text;
    verdict := CASE
        WHEN found_row.status <> 'active' THEN 'member_suspended'
        WHEN found_row.suspended_at IS NOT NULL THEN 'organization_suspended'
        WHEN found_row.deleted_at IS NOT NULL THEN 'organization_deleted'
        ELSE 'admitted' END;
    IF verdict IN ('admitted', 'organization_deleted') THEN
        PERFORM app.set_context(organization, user_id);
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION app.enter(bytea, uuid) TO app_rw;
