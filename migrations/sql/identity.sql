-- The doors of app_identity: sign-up, verification, sign-in, reset; and those of a person's own sessions.
--
-- app_identity reads no table: what it may execute is all it can do, and every function answers about the one account
-- that was asked for, named by its address or by a token's hash. No hash of a password leaves the database: a door
-- tells its recipe (parameters and salt), the program makes the string again from what was typed, and the next door
-- compares. And the token of a mailed link is not app_identity's to choose: it asks for a letter, and the worker that
-- writes it stores the token's hash, as app_rw and for the person the job belongs to. So SQL that slipped in can
-- neither carry hashes away nor open a session nor set a password.
--
-- A sign-up's password waits in its verification credential (details.password_hash), not in app.password, and is
-- activated by the mailed token together with that same password. Whoever signs up somebody else's address never
-- sees the token; and the address's owner, following such a link, does not know the password.

-- Inner functions: doors call them, nobody else may.

CREATE FUNCTION app.recipe_of(hash text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT regexp_replace(hash, '[^$]*$', '') $$;

-- A job whose transaction will see this person's own row.
CREATE FUNCTION app.enqueue_for(person uuid, job uuid, task text, payload jsonb, trace text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO app.outbox (id, tenant_id, user_id, task, payload, trace)
    VALUES (job, NULL, person, task, payload, trace)
$$;

-- Of a person's live credentials of one kind, only the newest stay; returns those that do not.
CREATE FUNCTION app.keep_newest(person uuid, of_kind text, keep integer) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE app.credential
       SET revoked_at = now(), revoked_reason = 'superseded', details = details - 'password_hash'
     WHERE id IN (
           SELECT id FROM app.credential
            WHERE user_id = person AND kind = of_kind AND revoked_at IS NULL AND expires_at > now()
              AND last_used_at + idle_timeout > now()
            ORDER BY id DESC OFFSET keep)
    RETURNING id
$$;

-- The row of a live token, and with it its owner's row locked: whatever changes a person's credentials queues there,
-- so that of two requests with one token the second finds it used. All NULL when the token is not worth anything.
CREATE FUNCTION app.take_credential(token_hash bytea, of_kind text) RETURNS app.credential
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_row app.credential;
BEGIN
    PERFORM FROM app."user" u JOIN app.credential c ON c.user_id = u.id
      WHERE c.hash = token_hash AND c.kind = of_kind AND c.revoked_at IS NULL
        FOR UPDATE OF u;
    -- A statement of its own: it sees what those before us in the queue committed.
    SELECT c.* INTO found_row
      FROM app.credential c JOIN app."user" u ON u.id = c.user_id
     WHERE c.hash = token_hash AND c.kind = of_kind AND c.revoked_at IS NULL AND c.expires_at > now()
       AND c.last_used_at + c.idle_timeout > now() AND u.disabled_at IS NULL;
    RETURN found_row;
END $$;

-- What a mailed link will open, once a worker has armed it with its token's hash; until then nobody knows one.
CREATE FUNCTION app.await_token(link uuid, of_kind text, person uuid, details jsonb, keep integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO app.credential (id, kind, hash, user_id, details, expires_at)
    VALUES (link, of_kind, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), person, details,
            now() + interval '1 day');
    SELECT app.keep_newest(person, of_kind, keep)
$$;

-- A new password ends everything the old one opened, and every link that could set another. Returns the sessions that
-- would have been good for more.
CREATE FUNCTION app.set_password(person uuid, new_hash text, surviving_session uuid) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    sessions uuid[];
BEGIN
    INSERT INTO app.password AS p (user_id, hash) VALUES (person, new_hash)
    ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, changed_at = now();
    WITH ended AS (
        UPDATE app.credential
           SET revoked_at = now(), revoked_reason = 'password_changed', details = details - 'password_hash'
         WHERE user_id = person AND kind IN ('session', 'verification', 'reset') AND revoked_at IS NULL
           AND id IS DISTINCT FROM surviving_session
        RETURNING id, kind, expires_at, last_used_at + idle_timeout AS idle_at
    )
    SELECT array_agg(id ORDER BY id) INTO sessions
      FROM ended WHERE kind = 'session' AND expires_at > now() AND idle_at > now();
    RETURN coalesce(sessions, '{}');
END $$;

-- In a person's record: these sessions ended, if any.
CREATE FUNCTION app.record_ended(person uuid, sessions uuid[], reason text, means uuid, facts jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF sessions <> '{}' THEN
        PERFORM app.record_account(person, 'session.ended', 'session', sessions, means,
                                   jsonb_build_object('reason', reason), facts);
    END IF;
END $$;

-- End the session that is shown, in its owner's record as well; returns whose it was, NULL when it was over already.
CREATE FUNCTION app.end_session_of(session_hash bytea, reason text, facts jsonb) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended app.credential;
BEGIN
    UPDATE app.credential SET revoked_at = now(), revoked_reason = reason
     WHERE hash = session_hash AND kind = 'session' AND revoked_at IS NULL AND expires_at > now()
       AND last_used_at + idle_timeout > now()
    RETURNING * INTO ended;
    IF FOUND THEN
        PERFORM app.record_ended(ended.user_id, ARRAY[ended.id], reason, ended.id, facts);
    END IF;
    RETURN ended.user_id;
END $$;

-- A person whose mailbox was proven otherwise, by an invitation's token for instance: verified from the start. An
-- unfinished sign-up with the address is taken over, its passwords discarded. NULL when the address has an account.
CREATE FUNCTION app.create_user(
    person uuid, address text, address_norm text, person_name text, password_hash text
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    created uuid;
BEGIN
    INSERT INTO app."user" AS u (id, email, email_norm, name, email_verified_at)
    VALUES (person, address, address_norm, person_name, now())
    ON CONFLICT (email_norm) DO UPDATE
       SET email = excluded.email, name = excluded.name, email_verified_at = now(), updated_at = now(),
           version = u.version + 1
     WHERE u.email_verified_at IS NULL AND u.disabled_at IS NULL
    RETURNING u.id INTO created;
    IF created IS NOT NULL THEN
        PERFORM app.set_password(created, password_hash, NULL);
    END IF;
    RETURN created;
END $$;

-- A session for a person who has just proven who they are. replaced_hash names the session that the browser showed:
-- an id from before a sign-in is worth nothing after it. The caller holds the lock on the person's row.
CREATE FUNCTION app.open_session(
    person uuid, session uuid, session_hash bytea, replaced_hash bytea, idle interval, expires timestamptz,
    keep integer, facts jsonb
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.end_session_of(replaced_hash, 'replaced', facts);
    INSERT INTO app.credential (id, kind, hash, user_id, details, expires_at, idle_timeout)
    VALUES (session, 'session', session_hash, person, app.known_facts(facts) - ARRAY['request_id', 'trace_id'], expires, idle);
    PERFORM app.record_account(person, 'session.started', 'session', ARRAY[session], session, '{}', facts);
    PERFORM app.record_ended(person, ARRAY(SELECT app.keep_newest(person, 'session', keep)), 'superseded', session,
                             facts);
END $$;

-- Sign-up. It returns nothing whatever it finds, and does as much for an address that has an account: one letter.
CREATE FUNCTION app.sign_up(
    person uuid, address text, address_norm text, person_name text, password_hash text,
    verification uuid, job uuid, payload jsonb, trace text
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner app."user";
BEGIN
    INSERT INTO app."user" (id, email, email_norm, name) VALUES (person, address, address_norm, person_name)
    ON CONFLICT (email_norm) DO NOTHING;
    SELECT * INTO STRICT owner FROM app."user" u WHERE u.email_norm = address_norm FOR UPDATE;
    IF owner.email_verified_at IS NOT NULL OR owner.disabled_at IS NOT NULL THEN
        PERFORM app.enqueue_for(owner.id, job, 'identity.send_sign_up_attempt', '{}', trace);
        RETURN;
    END IF;
    PERFORM app.await_token(verification, 'verification', owner.id,
                            jsonb_build_object('name', person_name, 'password_hash', password_hash), 10);
    PERFORM app.enqueue_for(owner.id, job, 'identity.send_verification', payload, trace);
END $$;

-- A second letter for the latest sign-up with an address: a further credential, so that the first letter still works.
-- Where there is nothing to send it must not be quicker, and the wait for the disk would tell; hence nobody waits, and
-- a crash of the server within the next moments costs a letter, which can be asked for again.
CREATE FUNCTION app.resend_verification(
    address_norm text, verification uuid, job uuid, payload jsonb, trace text
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner uuid;
    latest uuid;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT u.id INTO owner FROM app."user" u
     WHERE u.email_norm = address_norm AND u.email_verified_at IS NULL AND u.disabled_at IS NULL FOR UPDATE;
    SELECT c.id INTO latest FROM app.credential c
     WHERE c.user_id = owner AND c.kind = 'verification' AND c.revoked_at IS NULL
     ORDER BY c.id DESC LIMIT 1;
    IF FOUND THEN
        PERFORM app.await_token(verification, 'verification', owner, '{}', 10);
        -- From row to row: what a variable holds stands in the plans of statements, which any session may have shown.
        UPDATE app.credential AS c SET details = l.details
          FROM app.credential AS l WHERE c.id = verification AND l.id = latest;
        PERFORM app.enqueue_for(owner, job, 'identity.send_verification', payload, trace);
    END IF;
END $$;

CREATE FUNCTION app.verification_recipe(token_hash bytea) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT app.recipe_of(c.details ->> 'password_hash')
      FROM app.credential c JOIN app."user" u ON u.id = c.user_id AND u.disabled_at IS NULL
     WHERE c.hash = token_hash AND c.kind = 'verification' AND c.revoked_at IS NULL AND c.expires_at > now()
$$;

-- The token proves the mailbox, the password (`answer`, made from it) that its bearer is who signed up.
CREATE FUNCTION app.verify_sign_up(
    token_hash bytea, answer text,
    session uuid, session_hash bytea, replaced_hash bytea, idle interval, expires timestamptz, keep integer,
    facts jsonb
) RETURNS app."user"
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    proof app.credential := app.take_credential(token_hash, 'verification');
    person app."user";
BEGIN
    IF proof.id IS NULL OR proof.details ->> 'password_hash' IS DISTINCT FROM answer THEN
        RETURN NULL;
    END IF;
    UPDATE app."user" u
       SET name = proof.details ->> 'name', email_verified_at = now(), updated_at = now(), version = u.version + 1
     WHERE u.id = proof.user_id
    RETURNING u.* INTO STRICT person;
    PERFORM app.set_password(person.id, answer, NULL);
    PERFORM app.record_account(person.id, 'account.verified', 'user', ARRAY[person.id], proof.id, '{"by": "sign_up"}',
                               facts);
    PERFORM app.open_session(person.id, session, session_hash, replaced_hash, idle, expires, keep, facts);
    RETURN person;
END $$;

CREATE FUNCTION app.sign_in_recipe(address_norm text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT app.recipe_of(p.hash)
      FROM app."user" u JOIN app.password p ON p.user_id = u.id
     WHERE u.email_norm = address_norm
$$;

-- Sign-in: NULL for an unknown address, a wrong password, an unverified or a disabled account alike. A row is locked,
-- and so anything written, only when all is right: a wait for the disk would tell which of these it was.
CREATE FUNCTION app.sign_in(
    address_norm text, answer text,
    session uuid, session_hash bytea, replaced_hash bytea, idle interval, expires timestamptz, keep integer,
    facts jsonb
) RETURNS app."user"
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person app."user";
BEGIN
    PERFORM FROM app."user" u JOIN app.password p ON p.user_id = u.id AND p.hash = answer
      WHERE u.email_norm = address_norm AND u.email_verified_at IS NOT NULL AND u.disabled_at IS NULL
        FOR UPDATE OF u;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Once more behind the lock: a password that was changed while we waited opens nothing.
    SELECT u.* INTO person
      FROM app."user" u JOIN app.password p ON p.user_id = u.id AND p.hash = answer
     WHERE u.email_norm = address_norm AND u.email_verified_at IS NOT NULL AND u.disabled_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM app.open_session(person.id, session, session_hash, replaced_hash, idle, expires, keep, facts);
    RETURN person;
END $$;

-- The same password under today's parameters. Who knows the old hash knows the password: nothing is revoked.
CREATE FUNCTION app.renew_hash(person uuid, old_hash text, new_hash text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ UPDATE app.password SET hash = new_hash WHERE user_id = person AND hash = old_hash $$;

-- Whose session it was; NULL when it was over already.
CREATE FUNCTION app.sign_out(session_hash bytea, facts jsonb) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT app.end_session_of(session_hash, 'signed_out', facts) $$;

-- A link to set a new password, if the address has an account; it also serves an account not yet verified, since only
-- the mailbox's owner gets it. Nobody waits for the disk, as in resend_verification.
CREATE FUNCTION app.ask_reset(
    address_norm text, reset uuid, job uuid, payload jsonb, trace text
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner uuid;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT u.id INTO owner FROM app."user" u
     WHERE u.email_norm = address_norm AND u.disabled_at IS NULL FOR UPDATE;
    IF FOUND THEN
        PERFORM app.await_token(reset, 'reset', owner, '{}', 5);
        PERFORM app.enqueue_for(owner, job, 'identity.send_reset', payload, trace);
    END IF;
END $$;

-- What somebody is called who proved their address and said no name: the one that came with an unverified sign-up is
-- whoever's who sent it. Letters and digits of the address alone: names stand in letters, where they must not be links.
CREATE FUNCTION app.name_of(address text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(nullif(btrim(left(regexp_replace(split_part(address, '@', 1), '[^[:alnum:]]+', ' ', 'g'), 64)), ''),
                    'Somebody')
$$;

-- What the new password must not contain. No row: the token is not worth anything.
CREATE FUNCTION app.reset_owner(token_hash bytea) RETURNS TABLE (email text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.email, CASE WHEN u.email_verified_at IS NULL THEN app.name_of(u.email) ELSE u.name END
      FROM app.credential c JOIN app."user" u ON u.id = c.user_id AND u.disabled_at IS NULL
     WHERE c.hash = token_hash AND c.kind = 'reset' AND c.revoked_at IS NULL AND c.expires_at > now()
$$;

CREATE FUNCTION app.reset_password(
    token_hash bytea, new_hash text, job uuid, payload jsonb, trace text, facts jsonb
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    proof app.credential := app.take_credential(token_hash, 'reset');
    person CONSTANT uuid := proof.user_id;
    sessions uuid[];
BEGIN
    IF proof.id IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE app."user"
       SET name = app.name_of(email), email_verified_at = now(), updated_at = now(), version = version + 1
     WHERE id = person AND email_verified_at IS NULL;
    IF FOUND THEN
        PERFORM app.record_account(person, 'account.verified', 'user', ARRAY[person], proof.id, '{"by": "reset"}', facts);
    END IF;
    sessions := app.set_password(person, new_hash, NULL);
    PERFORM app.record_account(person, 'password.reset', 'user', ARRAY[person], proof.id, '{}', facts);
    PERFORM app.record_ended(person, sessions, 'password_changed', proof.id, facts);
    PERFORM app.enqueue_for(person, job, 'identity.send_password_changed', payload, trace);
    RETURN person;
END $$;

-- Changing the password: a live session says whose it is, and how the current one was made. No row: no live session.
CREATE FUNCTION app.password_of_session(session_hash bytea) RETURNS TABLE (email text, name text, recipe text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.email, u.name, app.recipe_of(p.hash)
      FROM app.credential c
      JOIN app."user" u ON u.id = c.user_id AND u.disabled_at IS NULL
      LEFT JOIN app.password p ON p.user_id = u.id
     WHERE c.hash = session_hash AND c.kind = 'session' AND c.revoked_at IS NULL AND c.expires_at > now()
       AND c.last_used_at + c.idle_timeout > now()
$$;

-- NULL when the session is over or the current password is not this one.
CREATE FUNCTION app.change_password(
    session_hash bytea, answer text, new_hash text, job uuid, payload jsonb, trace text, facts jsonb
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    proof app.credential := app.take_credential(session_hash, 'session');
    person CONSTANT uuid := proof.user_id;
    sessions uuid[];
BEGIN
    IF NOT EXISTS (SELECT FROM app.password p WHERE p.user_id = person AND p.hash = answer) THEN
        RETURN NULL;
    END IF;
    sessions := app.set_password(person, new_hash, proof.id);
    PERFORM app.record_account(person, 'password.changed', 'user', ARRAY[person], proof.id, '{}', facts);
    PERFORM app.record_ended(person, sessions, 'password_changed', proof.id, facts);
    PERFORM app.enqueue_for(person, job, 'identity.send_password_changed', payload, trace);
    RETURN person;
END $$;

GRANT EXECUTE ON FUNCTION
    app.sign_up(uuid, text, text, text, text, uuid, uuid, jsonb, text),
    app.resend_verification(text, uuid, uuid, jsonb, text),
    app.verification_recipe(bytea),
    app.verify_sign_up(bytea, text, uuid, bytea, bytea, interval, timestamptz, integer, jsonb),
    app.sign_in_recipe(text),
    app.sign_in(text, text, uuid, bytea, bytea, interval, timestamptz, integer, jsonb),
    app.renew_hash(uuid, text, text),
    app.sign_out(bytea, jsonb),
    app.ask_reset(text, uuid, uuid, jsonb, text),
    app.reset_owner(bytea),
    app.reset_password(bytea, text, uuid, jsonb, text, jsonb),
    app.password_of_session(bytea),
    app.change_password(bytea, text, text, uuid, jsonb, text, jsonb)
    TO app_identity;

-- Inside the signed context. The first is the worker's, in the transaction of a job: false when the link would open
-- nothing any more. The others are a person's own: who sees and ends their sessions.

CREATE FUNCTION app.arm_credential(link uuid, token_hash bytea, lifetime interval) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.credential SET hash = token_hash, expires_at = now() + lifetime
     WHERE id = link AND user_id = app.user_id() AND app.tenant_id() IS NULL
       AND kind IN ('verification', 'reset') AND revoked_at IS NULL
       AND now() + lifetime BETWEEN now() + interval '1 minute' AND now() + interval '7 days';
    RETURN FOUND;
END $$;

-- Sessions are a person's own: inside an organization its SQL sees and ends none, as with app.my_organizations.
CREATE FUNCTION app.my_sessions() RETURNS TABLE (
    id uuid, user_agent text, ip text, created_at timestamptz, last_used_at timestamptz, expires_at timestamptz,
    idle_expires_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.id, c.details ->> 'user_agent', c.details ->> 'ip', c.created_at, c.last_used_at, c.expires_at,
           least(c.expires_at, c.last_used_at + c.idle_timeout)
      FROM app.credential c
     WHERE c.user_id = (SELECT app.user_id()) AND c.kind = 'session' AND c.revoked_at IS NULL AND c.expires_at > now()
       AND c.last_used_at + c.idle_timeout > now() AND (SELECT app.tenant_id()) IS NULL
$$;

CREATE FUNCTION app.revoke_my_session(session uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.credential SET revoked_at = now(), revoked_reason = 'revoked'
     WHERE id = session AND user_id = app.user_id() AND kind = 'session' AND revoked_at IS NULL AND expires_at > now()
       AND last_used_at + idle_timeout > now() AND app.tenant_id() IS NULL;
    RETURN FOUND;
END $$;

-- All but one; NULL spares none. Returns which.
CREATE FUNCTION app.revoke_my_sessions(spared uuid) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE app.credential SET revoked_at = now(), revoked_reason = 'revoked'
     WHERE user_id = app.user_id() AND kind = 'session' AND revoked_at IS NULL AND expires_at > now()
       AND last_used_at + idle_timeout > now() AND id IS DISTINCT FROM spared AND app.tenant_id() IS NULL
    RETURNING id
$$;

GRANT EXECUTE ON FUNCTION
    app.arm_credential(uuid, bytea, interval), app.my_sessions(), app.revoke_my_session(uuid),
    app.revoke_my_sessions(uuid)
    TO app_rw;

-- Sign-ups that nobody confirmed: an address must not stay somebody's only because a stranger once typed it.
CREATE FUNCTION app.purge_sign_ups(age interval, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    purged integer;
BEGIN
    WITH gone AS (DELETE FROM app."user" WHERE id IN (
        SELECT u.id FROM app."user" u
         WHERE u.email_verified_at IS NULL AND u.disabled_at IS NULL AND u.created_at < least(now() - age, now())
           AND NOT EXISTS (SELECT FROM app.membership m WHERE m.user_id = u.id)
           AND NOT EXISTS (SELECT FROM app.credential c
                            WHERE c.user_id = u.id AND c.revoked_at IS NULL AND c.expires_at > now())
         ORDER BY u.created_at LIMIT batch FOR UPDATE SKIP LOCKED)
        RETURNING id
    ), forgotten AS (DELETE FROM app.account_event AS e USING gone WHERE e.user_id = gone.id)
    SELECT count(*) INTO purged FROM gone;
    RETURN purged;
END $$;

GRANT EXECUTE ON FUNCTION app.purge_sign_ups(interval, integer) TO app_platform;
