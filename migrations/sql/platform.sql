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

-- The same for an operator's POST with an Idempotency-Key: as app.enter_once, of the operator's own answers.
CREATE FUNCTION app.enter_platform_once(
    secret_hash bytea, name bytea,
    OUT verdict text, OUT user_id uuid, OUT credential_id uuid, OUT credential_kind text,
    OUT locked boolean, OUT fingerprint bytea, OUT answer bytea
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT * INTO verdict, user_id, credential_id, credential_kind FROM app.enter_platform(secret_hash);
    IF verdict = 'admitted' THEN
        SELECT e.locked, e.fingerprint, e.answer INTO locked, fingerprint, answer
          FROM app.enter_once(secret_hash, NULL, name) AS e;
        PERFORM app.clear_context();
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION app.enter_platform_once(bytea, bytea) TO app_platform;

-- Keep what an operator was answered. Their login has no context that would say whose it is: the session says it.
CREATE FUNCTION app.keep_operators_answer(secret_hash bytea, name bytea, fingerprint bytea, answer bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
BEGIN
    SELECT * INTO found FROM app.enter_platform(secret_hash);
    IF found.verdict <> 'admitted' THEN
        RAISE EXCEPTION 'only operators are answered here' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer)
    VALUES (found.user_id, name, fingerprint, answer);
END $$;
GRANT EXECUTE ON FUNCTION app.keep_operators_answer(bytea, bytea, bytea, bytea) TO app_platform;
