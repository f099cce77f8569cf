-- One round trip per request: take the lock that only one of several duplicates gets, then look for a stored answer.
-- VOLATILE, so that the look-up sees what committed before the lock was granted. The lock ends with the transaction.
CREATE FUNCTION app.begin_idempotent(name bytea, OUT locked boolean, OUT fingerprint bytea, OUT answer bytea)
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    locked := pg_try_advisory_xact_lock(('x' || encode(substr(name, 1, 8), 'hex'))::bit(64)::bigint);
    IF locked THEN
        SELECT i.fingerprint, i.answer INTO fingerprint, answer FROM app.idempotency i WHERE i.key_hash = name;
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION app.begin_idempotent(bytea) TO app_rw;
