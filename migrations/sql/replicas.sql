-- Reads on a replica. A replica never decides who comes in: one whose replay was paused would admit a member who was
-- removed. So the primary's door decides, and gives who may come in a grant of five seconds, which a replica can verify
-- because it has the door key too.
--
-- A grant is tenant (16 bytes) || user (16) || end, in microseconds since 1970 (8) || mac (32), and good for reading what
-- its holder could read anyway. Its mac is no context's: that has another length and no prefix.

-- The grant that goes with an admission just made; null where the organization changed something within ten seconds:
-- whoever did will look for it, and a replica may not have it yet.
CREATE FUNCTION app.enter_for_replica(
    secret_hash bytea, organization uuid,
    OUT verdict text, OUT user_id uuid, OUT credential_id uuid, OUT credential_kind text,
    OUT membership_id uuid, OUT role text, OUT scope text[], OUT limits text, OUT "grant" bytea
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recent CONSTANT uuid := rpad(lpad(to_hex(
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 10000), 12, '0'), 32, '0')::uuid;
    ahead CONSTANT uuid := app.later_id(recent, 86400000);
    body bytea;
BEGIN
    SELECT * INTO verdict, user_id, credential_id, credential_kind, membership_id, role, scope, limits
      FROM app.enter(secret_hash, organization);
    IF verdict = 'admitted' AND organization IS NOT NULL AND NOT EXISTS (
        SELECT FROM app.event AS e WHERE e.tenant_id = organization AND e.id > recent AND e.id < ahead)
    THEN
        body := uuid_send(organization) || uuid_send(user_id)
            || int8send((extract(epoch FROM clock_timestamp() + interval '5 seconds') * 1000000)::bigint);
        "grant" := body || app.grant_mac(body);
    END IF;
END $$;

CREATE FUNCTION app.grant_mac(body bytea) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key app.door_key;
BEGIN
    SELECT * INTO STRICT key FROM app.door_key;
    RETURN sha256(key.opad || sha256(key.ipad || 'grant'::bytea || body));
END $$;

-- On a replica: verify the grant and sign the transaction's context. Verdicts: admitted | refused | behind | primary.
-- `reached` is how far the primary had come a few seconds ago: who has not replayed that is behind. A grant that another
-- key signed is refused, as after a rotation that the replica has not heard of; the caller goes back to the primary.
CREATE FUNCTION app.enter_by_grant(given bytea, reached pg_lsn) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    body CONSTANT bytea := substr(given, 1, 40);
BEGIN
    PERFORM app.clear_context();
    IF NOT pg_is_in_recovery() THEN
        RETURN 'primary';
    ELSIF pg_last_wal_replay_lsn() IS NULL OR reached IS NULL OR pg_last_wal_replay_lsn() < reached THEN
        RETURN 'behind';
    ELSIF given IS NULL OR length(given) <> 72 OR substr(given, 41) <> app.grant_mac(body)
        OR ('x' || encode(substr(body, 33), 'hex'))::bit(64)::bigint < extract(epoch FROM clock_timestamp()) * 1000000
    THEN
        RETURN 'refused';
    END IF;
    PERFORM app.set_context(encode(substr(body, 1, 16), 'hex')::uuid, encode(substr(body, 17, 16), 'hex')::uuid);
    RETURN 'admitted';
END $$;

GRANT EXECUTE ON FUNCTION app.enter_for_replica(bytea, uuid), app.enter_by_grant(bytea, pg_lsn) TO app_rw;
