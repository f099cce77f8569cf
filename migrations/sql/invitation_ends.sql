-- How an invitation ends without its letter: declined in its holder's own list, or deleted when nobody asks any more.

-- Decline what is for the verified address of the context's user; `means` is the credential that they showed.
-- Verdicts: done | unknown | accepted | declined | revoked | expired.
CREATE FUNCTION app.decline_my_invitation(wanted uuid, means uuid, facts jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person app."user";
    taken app.invitation;
BEGIN
    SELECT * INTO person FROM app."user" WHERE id = app.user_id() AND app.tenant_id() IS NULL;
    taken := app.take_invitation_for(person, wanted);
    IF taken.id IS NULL THEN
        RETURN 'unknown';
    ELSIF taken.status <> 'pending' THEN
        RETURN taken.status;
    ELSIF taken.expires_at <= now() THEN
        RETURN 'expired';
    END IF;
    PERFORM app.end_declined(taken);
    PERFORM app.record_account(person.id, 'account.invitation_declined', 'invitation', ARRAY[taken.id],
                               app.own_session(person.id, means), '{}', facts);
    RETURN 'done';
END $$;

GRANT EXECUTE ON FUNCTION app.decline_my_invitation(uuid, uuid, jsonb) TO app_rw;

-- Delete an organization's invitations that were closed, or were over, before `over`, at most `room`; returns how many.
-- What they came to stands in the events, and how many went.
CREATE FUNCTION app.purge_invitations_of(tenant uuid, over timestamptz, room integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    removed integer;
BEGIN
    DELETE FROM app.invitation WHERE tenant_id = tenant AND id = ANY (ARRAY(
        SELECT i.id FROM app.invitation AS i
         WHERE i.tenant_id = tenant AND CASE WHEN i.status = 'pending' THEN i.expires_at ELSE i.updated_at END < over
         LIMIT room FOR UPDATE));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN CASE WHEN removed > 0 THEN app.record_purged(tenant, 'invitation', removed) ELSE 0 END;
END $$;

-- Delete the invitations that were closed, or were over, longer ago than `age` (30 days at least), at most `batch`; returns
-- how many, and of how many organizations some stay that could not go.
CREATE FUNCTION app.purge_invitations(age interval, batch integer, OUT purged integer, OUT stayed integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    over CONSTANT timestamptz := least(now() - age, now() - interval '30 days');
BEGIN
    SELECT each.purged, each.stayed INTO purged, stayed
      FROM app.purge_each(
               ARRAY(SELECT DISTINCT i.tenant_id FROM app.invitation AS i
                      WHERE CASE WHEN i.status = 'pending' THEN i.expires_at ELSE i.updated_at END < over),
               'app.purge_invitations_of', over, batch) AS each;
END $$;

GRANT EXECUTE ON FUNCTION app.purge_invitations(interval, integer) TO app_platform;
