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
    at CONSTANT timestamptz := transaction_timestamp();
    context text;
    used_long_ago boolean;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'a replica lets nobody in' USING ERRCODE = '25006';
    END IF;
    -- One statement, and the signature in it: apart they took a third longer. The two LATERALs keep the planner from
    -- reading an organization's members one by one, which it does where statistics say that most have one.
    SELECT CASE
               WHEN organization IS NULL THEN 'admitted'
               WHEN m.id IS NULL THEN 'stranger'
               WHEN m.status <> 'active' THEN 'member_suspended'
               WHEN m.suspended_at IS NOT NULL THEN 'organization_suspended'
               WHEN m.deleted_at IS NOT NULL THEN 'organization_deleted'
               ELSE 'admitted' END,
           c.user_id, c.id, c.kind, m.id, m.role, c.scope, m.limits::text,
           c.last_used_at < at - interval '1 minute',
           -- As app.set_context signs.
           encode(b.body || sha256(k.opad || sha256(k.ipad || b.body
               || timestamptz_send(at) || int4send(pg_backend_pid()))), 'hex')
      INTO verdict, user_id, credential_id, credential_kind, membership_id, role, scope, limits, used_long_ago, context
      FROM app.credential AS c
      JOIN app."user" AS u ON u.id = c.user_id AND u.disabled_at IS NULL
      CROSS JOIN app.door_key AS k
      CROSS JOIN LATERAL (
          SELECT uuid_send(coalesce(organization, '00000000-0000-0000-0000-000000000000')) || uuid_send(c.user_id)
          OFFSET 0) AS b (body)
      LEFT JOIN LATERAL (
          SELECT m.id, m.role, m.status, o.suspended_at, o.deleted_at, o.limits
            FROM app.membership AS m
            JOIN app.organization AS o ON o.tenant_id = m.tenant_id AND o.id = m.tenant_id
           WHERE m.tenant_id = organization AND m.user_id = c.user_id
           LIMIT 1) AS m ON true
     WHERE c.hash = secret_hash AND c.kind = 'session' AND c.revoked_at IS NULL AND c.expires_at > at
       AND c.last_used_at + c.idle_timeout > at;
    IF NOT FOUND THEN
        verdict := 'unauthenticated';
    END IF;
    -- Whatever an earlier call signed ends here.
    PERFORM set_config(
        'app.context', CASE WHEN verdict IN ('admitted', 'organization_deleted') THEN context ELSE '' END, true);

    -- Minute granularity keeps the hot path free of writes; SKIP LOCKED keeps parallel requests from queueing here.
    IF used_long_ago THEN
        UPDATE app.credential SET last_used_at = at
         WHERE id = (SELECT id FROM app.credential WHERE id = credential_id FOR UPDATE SKIP LOCKED);
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION app.enter(bytea, uuid) TO app_rw;

-- A member who is kept out leaves a trace in the organization's record, though not as somebody whom the context is for.
-- It is written in the caller's transaction, for the session that is shown; `reason` is the verdict of app.enter. Thirty
-- times a minute at most: SQL could ask for more than the program does, and fill the record of who suspended them.
CREATE FUNCTION app.record_kept_out(
    secret_hash bytea, organization uuid, permission text, operation text, facts jsonb
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown record;
    actor text;
    a_minute_ago uuid;
    lately integer;
BEGIN
    SELECT * INTO shown FROM app.enter(secret_hash, organization);
    IF shown.verdict NOT IN ('member_suspended', 'organization_suspended') THEN
        RETURN;
    END IF;
    actor := app.type_id('usr', shown.user_id);
    a_minute_ago := app.later_id((app.ids_of_now(1))[1], -60000);
    SELECT count(*) INTO lately
      FROM (SELECT FROM app.event AS e
             WHERE e.tenant_id = organization AND e.actor_id OPERATOR(app.#=) actor AND e.id > a_minute_ago
               AND e.type = 'access.denied' LIMIT 30) AS told;
    IF lately < 30 THEN
        INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id,
                               target_type, target_id, data, context)
        VALUES (organization, (app.next_event_ids(organization, 1))[1], 'access.denied', 1, 'user',
                actor, app.type_id('crd', shown.credential_id),
                'member', app.type_id('mem', shown.membership_id),
                jsonb_build_object('permission', left(permission, 100), 'operation', left(operation, 100),
                                   'reason', shown.verdict),
                app.known_facts(facts));
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION app.record_kept_out(bytea, uuid, text, text, jsonb) TO app_rw;
