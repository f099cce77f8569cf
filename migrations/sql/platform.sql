-- The operators' door: a live session of a user who is an operator. Everybody else is a stranger, and learns nothing
-- of the platform's plane. It enters the user's own plane and leaves that context again: operators work on the
-- platform's own tables, never inside a tenant.
CREATE FUNCTION app.enter_platform(
    secret_hash bytea, OUT verdict text, OUT user_id uuid, OUT credential_id uuid, OUT credential_kind text
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    SELECT e.verdict, e.user_id, e.credential_id, e.credential_kind
      INTO verdict, user_id, credential_id, credential_kind
      FROM app.enter(secret_hash, NULL) e;
    PERFORM app.clear_context();
    IF verdict = 'admitted' AND NOT EXISTS (SELECT FROM app.operator o WHERE o.user_id = enter_platform.user_id) THEN
        verdict := 'stranger';
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION app.enter_platform(bytea) TO app_platform;
