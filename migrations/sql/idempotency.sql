-- The door of a request with an Idempotency-Key: both in one round trip. Whoever is let in takes the lock that only one
-- of several duplicates gets, and is told the stored answer of this very name: they cannot look for others, since the
-- rows of all their organizations lie side by side, and what one's SQL could see of them would tell it of the others.
-- VOLATILE, so that the look-up sees what committed before the lock was granted, which ends with the transaction.
CREATE FUNCTION app.enter_once(
    secret_hash bytea, organization uuid, name bytea,
    OUT verdict text, OUT user_id uuid, OUT credential_id uuid, OUT credential_kind text,
    OUT membership_id uuid, OUT role text, OUT scope text[], OUT limits text,
    OUT locked boolean, OUT fingerprint bytea, OUT answer bytea
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT * INTO verdict, user_id, credential_id, credential_kind, membership_id, role, scope, limits
      FROM app.enter(secret_hash, organization);
    IF verdict IN ('admitted', 'organization_deleted') THEN
        -- Of the person and the name: of the name alone, whoever saw its number among the locks could make one for it.
        locked := pg_try_advisory_xact_lock(
            ('x' || encode(substr(sha256(uuid_send(user_id) || name), 1, 8), 'hex'))::bit(64)::bigint);
        IF locked THEN
            SELECT i.fingerprint, i.answer INTO fingerprint, answer
              FROM app.idempotency AS i WHERE i.user_id = enter_once.user_id AND i.key_hash = name;
        END IF;
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION app.enter_once(bytea, uuid, bytea) TO app_rw;

-- After a day a key is forgotten: delete at most `batch` answers of before; returns how many.
CREATE FUNCTION app.purge_idempotency(batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    removed integer;
BEGIN
    DELETE FROM app.idempotency WHERE (user_id, key_hash) IN (
        SELECT i.user_id, i.key_hash FROM app.idempotency AS i
         WHERE i.created_at < now() - interval '24 hours' ORDER BY i.created_at LIMIT batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
GRANT EXECUTE ON FUNCTION app.purge_idempotency(integer) TO app_platform;
