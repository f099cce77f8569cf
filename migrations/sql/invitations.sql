-- Doors through which an invitation gets its secret, and through which its holder looks at it, accepts or declines it.
--
-- The mailed token names nothing but itself: organization, address and role are the row's, so there is nothing in it
-- to alter. A resent invitation has another token, and the earlier one is then like one that never was.

-- insula.core.permissions.may_grant, for the doors and for lists; a test compares the two.
CREATE FUNCTION app.may_grant(granter text, granted text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE granter
               WHEN 'owner' THEN granted IN ('owner', 'admin', 'member', 'billing', 'viewer')
               WHEN 'admin' THEN granted IN ('admin', 'member', 'billing', 'viewer')
               ELSE false
           END
$$;
GRANT EXECUTE ON FUNCTION app.may_grant(text, text) TO app_rw;

-- Inner functions: doors call them, nobody else may.

-- What stands against accepting an invitation at this moment, whoever holds it.
-- Verdicts: open | accepted | declined | revoked | expired | organization_closed | inviter_gone.
CREATE FUNCTION app.invitation_verdict(organization uuid, invitation uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
               WHEN i.status <> 'pending' THEN i.status
               WHEN i.expires_at <= now() THEN 'expired'
               WHEN o.suspended_at IS NOT NULL OR o.deleted_at IS NOT NULL THEN 'organization_closed'
               WHEN m.status = 'active' AND u.disabled_at IS NULL AND app.may_grant(m.role, i.role) THEN 'open'
               ELSE 'inviter_gone'
           END
      FROM app.invitation AS i
      JOIN app.organization AS o ON o.tenant_id = i.tenant_id AND o.id = i.tenant_id
      LEFT JOIN app.membership AS m ON m.tenant_id = i.tenant_id AND m.id = i.invited_by
      LEFT JOIN app."user" AS u ON u.id = m.user_id
     WHERE i.tenant_id = organization AND i.id = invitation
$$;

-- Lock the organization, then the invitation: everything that changes members, and everybody who accepts, takes turns.
-- What is over is not locked: who was invited once must not be able to hold an organization's row.
CREATE FUNCTION app.take_invitation(organization uuid, invitation uuid) RETURNS app.invitation
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken app.invitation;
BEGIN
    SELECT * INTO taken FROM app.invitation AS i WHERE i.tenant_id = organization AND i.id = invitation;
    IF taken.status <> 'pending' OR taken.expires_at <= now() THEN
        RETURN taken;
    END IF;
    PERFORM FROM app.organization AS o WHERE o.tenant_id = organization AND o.id = organization FOR NO KEY UPDATE;
    SELECT * INTO taken FROM app.invitation AS i
     WHERE i.tenant_id = organization AND i.id = invitation FOR NO KEY UPDATE;
    RETURN taken;
END $$;

-- Likewise by the mailed token; all NULL for a token that opens nothing.
CREATE FUNCTION app.take_invitation_of(token_hash bytea) RETURNS app.invitation
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown app.credential;
    taken app.invitation;
BEGIN
    SELECT * INTO shown FROM app.credential WHERE hash = token_hash AND kind = 'invitation';
    taken := app.take_invitation(shown.tenant_id, shown.subject_id);
    -- Once more behind the lock: it may have been sent anew while we waited, and this token replaced.
    IF EXISTS (SELECT FROM app.credential WHERE hash = token_hash AND id = taken.credential_id) THEN
        RETURN taken;
    END IF;
    RETURN NULL;
END $$;

-- Likewise by its id, where it is for a person's own verified address. Ids are an organization's own: SQL in another one can
-- give an invitation the same id, and then neither is taken.
CREATE FUNCTION app.take_invitation_for(person app."user", wanted uuid) RETURNS app.invitation
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    organizations uuid[];
BEGIN
    SELECT array_agg(i.tenant_id) INTO organizations FROM app.invitation AS i
     WHERE i.id = wanted AND i.email_norm = person.email_norm AND person.email_verified_at IS NOT NULL;
    IF cardinality(organizations) = 1 THEN
        RETURN app.take_invitation(organizations[1], wanted);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION app.close_invitation(organization uuid, invitation uuid, outcome text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE app.invitation AS i SET status = outcome, updated_at = now(), version = i.version + 1
     WHERE i.tenant_id = organization AND i.id = invitation;
    UPDATE app.credential SET revoked_at = now(), revoked_reason = outcome
     WHERE tenant_id = organization AND subject_id = invitation AND kind = 'invitation' AND revoked_at IS NULL
$$;

-- What is told of a request, cut to what a request has: callers write it into the record of an organization that is not
-- theirs. The names are those of insula.core.permissions.Facts; a test compares the two.
CREATE FUNCTION app.known_facts(facts jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(f.key, left(f.value, 400)), '{}')
      FROM jsonb_each_text(facts) AS f
     WHERE f.key IN ('request_id', 'ip', 'user_agent', 'trace_id') AND f.value IS NOT NULL
$$;

-- Make `person` a member, once it is settled that the taken, open invitation is theirs. `means` is the credential they
-- showed, `most` the members an organization may have unless its own row says otherwise, and no setting says more than
-- 100,000. Verdicts: admitted | already_member | member_suspended | limit_reached.
CREATE FUNCTION app.admit_invited(
    taken app.invitation, person uuid, profile_name_norm text, most integer, member uuid, means uuid, facts jsonb
) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_status text;
    events uuid[] := app.next_event_ids(taken.tenant_id, 2);
BEGIN
    SELECT status INTO found_status FROM app.membership WHERE tenant_id = taken.tenant_id AND user_id = person;
    IF FOUND THEN
        RETURN CASE found_status WHEN 'active' THEN 'already_member' ELSE 'member_suspended' END;
    END IF;
    SELECT coalesce((limits ->> 'members')::integer, least(most, 100000)) INTO most
      FROM app.organization WHERE tenant_id = taken.tenant_id AND id = taken.tenant_id;
    IF EXISTS (SELECT FROM app.membership WHERE tenant_id = taken.tenant_id OFFSET greatest(most - 1, 0)) THEN
        RETURN 'limit_reached';
    END IF;
    INSERT INTO app.membership (tenant_id, id, user_id, role, name, name_norm, email, email_norm)
    SELECT taken.tenant_id, member, u.id, taken.role, u.name, profile_name_norm, u.email, u.email_norm
      FROM app."user" AS u WHERE u.id = person;
    PERFORM app.close_invitation(taken.tenant_id, taken.id, 'accepted');
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id,
                           target_type, target_id, data, personal, context)
    SELECT taken.tenant_id, e.id, e.type, 1, 'user', app.type_id('usr', person), app.type_id('crd', means),
           e.target_type, e.target_id, e.data, e.personal, app.known_facts(facts)
      FROM app.membership AS m,
           LATERAL (VALUES
               (events[1], 'invitation.accepted', 'invitation', app.type_id('inv', taken.id),
                jsonb_build_object('member_id', app.type_id('mem', member)),
                jsonb_build_object('email', taken.email)),
               (events[2], 'member.added', 'member', app.type_id('mem', member),
                jsonb_build_object('user_id', app.type_id('usr', person), 'role', taken.role),
                jsonb_build_object('name', m.name, 'email', m.email))
           ) AS e (id, type, target_type, target_id, data, personal)
     WHERE m.tenant_id = taken.tenant_id AND m.id = member;
    PERFORM app.record_account(person, 'account.invitation_accepted', 'invitation', ARRAY[taken.id], means,
                               jsonb_build_object('organization_id', app.type_id('org', taken.tenant_id)), facts);
    RETURN 'admitted';
END $$;

-- Store the digests of the tokens of the context's own, pending invitations; a new one takes the old one's place.
CREATE FUNCTION app.arm_invitations(invitations uuid[], hashes bytea[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- The row names its credential, and the application writes that name: it must not reach anybody else's, nor lock it,
    -- which ON CONFLICT DO UPDATE does before it looks whose it is.
    WITH wanted AS (
        SELECT i.credential_id, g.hash, i.tenant_id, i.id, i.expires_at
          FROM unnest(invitations, hashes) AS g (invitation, hash)
          JOIN app.invitation AS i ON i.tenant_id = (SELECT app.tenant_id()) AND i.id = g.invitation
         WHERE i.status = 'pending'
    ), renewed AS (
        UPDATE app.credential AS c SET hash = w.hash, expires_at = w.expires_at
          FROM wanted AS w
         WHERE c.id = w.credential_id AND c.kind = 'invitation' AND c.tenant_id = w.tenant_id AND c.subject_id = w.id
    )
    INSERT INTO app.credential (id, kind, hash, tenant_id, subject_id, expires_at)
    SELECT w.credential_id, 'invitation', w.hash, w.tenant_id, w.id, w.expires_at FROM wanted AS w
    ON CONFLICT (id) DO NOTHING
$$;

-- End the credentials of the context's own invitations that are not pending any more.
CREATE FUNCTION app.disarm_invitations(invitations uuid[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE app.credential AS c SET revoked_at = now(), revoked_reason = i.status
      FROM app.invitation AS i
     WHERE i.tenant_id = (SELECT app.tenant_id()) AND i.id = ANY (invitations) AND i.status <> 'pending'
       AND c.tenant_id = i.tenant_id AND c.subject_id = i.id AND c.kind = 'invitation' AND c.revoked_at IS NULL
$$;

-- The credential that a user says they showed, if it is theirs.
CREATE FUNCTION app.own_session(person uuid, means uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT c.id FROM app.credential AS c WHERE c.id = means AND c.user_id = person AND c.kind = 'session' $$;

-- Accept, as the context's user: with the mailed token's hash, or by id what is for the user's own verified address.
-- `member` is the id of the membership.
-- Verdicts: admitted | unknown | wrong_account | email_unverified and those of the inner functions.
CREATE FUNCTION app.accept_invitation(
    token_hash bytea, wanted uuid, profile_name_norm text, most integer, member uuid, means uuid, facts jsonb,
    OUT verdict text, OUT organization uuid, OUT role text, OUT email text
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person app."user";
    taken app.invitation;
BEGIN
    SELECT * INTO person FROM app."user" WHERE id = app.user_id() AND app.tenant_id() IS NULL;
    IF token_hash IS NOT NULL THEN
        taken := app.take_invitation_of(token_hash);
    ELSE
        taken := app.take_invitation_for(person, wanted);
    END IF;
    verdict := 'unknown';
    IF taken.id IS NULL OR person.id IS NULL THEN
        RETURN;
    END IF;
    organization := taken.tenant_id;
    role := taken.role;
    email := taken.email;
    verdict := app.invitation_verdict(taken.tenant_id, taken.id);
    IF verdict <> 'open' THEN
        RETURN;
    ELSIF taken.email_norm <> person.email_norm THEN
        verdict := 'wrong_account';
    ELSIF person.email_verified_at IS NULL THEN
        verdict := 'email_unverified';
    ELSE
        verdict := app.admit_invited(taken, person.id, profile_name_norm, most, member,
                                     app.own_session(person.id, means), facts);
    END IF;
END $$;

-- What is open for the verified address of the context's user. Inside an organization there is nothing to see.
CREATE FUNCTION app.my_invitations()
RETURNS TABLE (
    id uuid, organization_id uuid, organization_name text, inviter_name text, role text,
    expires_at timestamptz, created_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.id, i.tenant_id, o.name, m.name, i.role, i.expires_at, i.created_at
      FROM app."user" AS u
      JOIN app.invitation AS i ON i.email_norm = u.email_norm AND i.status = 'pending'
      JOIN app.organization AS o ON o.tenant_id = i.tenant_id AND o.id = i.tenant_id
      JOIN app.membership AS m ON m.tenant_id = i.tenant_id AND m.id = i.invited_by
     WHERE u.id = app.user_id() AND u.email_verified_at IS NOT NULL AND app.tenant_id() IS NULL
       AND app.invitation_verdict(i.tenant_id, i.id) = 'open'
       AND NOT EXISTS (SELECT FROM app.membership AS mine WHERE mine.tenant_id = i.tenant_id AND mine.user_id = u.id)
$$;

GRANT EXECUTE ON FUNCTION
    app.arm_invitations(uuid[], bytea[]), app.disarm_invitations(uuid[]),
    app.accept_invitation(bytea, uuid, text, integer, uuid, uuid, jsonb), app.my_invitations()
    TO app_rw;

-- The doors of app_identity: their callers have the mailed token and no session.

-- What the token opens. has_account says whether its holder, who has shown that the address is theirs, can sign in.
CREATE FUNCTION app.preview_invitation(
    token_hash bytea, OUT verdict text, OUT organization_name text, OUT inviter_name text, OUT role text,
    OUT email text, OUT expires_at timestamptz, OUT has_account boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT app.invitation_verdict(i.tenant_id, i.id), o.name, m.name, i.role, i.email, i.expires_at,
           EXISTS (SELECT FROM app."user" AS u WHERE u.email_norm = i.email_norm AND u.email_verified_at IS NOT NULL)
      FROM app.credential AS c
      JOIN app.invitation AS i ON i.tenant_id = c.tenant_id AND i.id = c.subject_id
      JOIN app.organization AS o ON o.tenant_id = i.tenant_id AND o.id = i.tenant_id
      LEFT JOIN app.membership AS m ON m.tenant_id = i.tenant_id AND m.id = i.invited_by
     WHERE c.hash = token_hash AND c.kind = 'invitation'
$$;

-- Make the holder an account and a member in one go, and open their first session: the token proves the address.
-- Whoever gets another verdict than admitted has to roll back, since the account may have been made by then.
-- Verdicts: admitted | unknown | sign_in_first and those of the inner functions.
CREATE FUNCTION app.join_by_invitation(
    token_hash bytea, person uuid, person_name text, profile_name_norm text, password_hash text,
    most integer, member uuid,
    session uuid, session_hash bytea, replaced_hash bytea, idle interval, expires timestamptz, keep integer,
    facts jsonb,
    OUT verdict text, OUT organization uuid, OUT role text, OUT joined app."user"
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken app.invitation := app.take_invitation_of(token_hash);
BEGIN
    verdict := 'unknown';
    IF taken.id IS NULL THEN
        RETURN;
    END IF;
    organization := taken.tenant_id;
    role := taken.role;
    verdict := app.invitation_verdict(taken.tenant_id, taken.id);
    IF verdict <> 'open' THEN
        RETURN;
    END IF;
    person := app.create_user(person, taken.email, taken.email_norm, person_name, password_hash);
    IF person IS NULL THEN
        verdict := 'sign_in_first';
        RETURN;
    END IF;
    verdict := app.admit_invited(taken, person, profile_name_norm, most, member, taken.credential_id, facts);
    IF verdict = 'admitted' THEN
        PERFORM app.record_account(person, 'account.verified', 'user', ARRAY[person], taken.credential_id,
                                   '{"by": "invitation"}', facts);
        PERFORM app.open_session(person, session, session_hash, replaced_hash, idle, expires, keep, facts);
        SELECT u.* INTO joined FROM app."user" AS u WHERE u.id = person;
    END IF;
END $$;

-- The organization learns that they said no, and nothing else of somebody who wants nothing to do with it: anybody may
-- found one and invite an address. So neither who it is (a user's id would tell that the address has an account) nor from
-- where, nor by which request, whose ids are theirs to choose; the same for those with a session, whose own record has all.
CREATE FUNCTION app.end_declined(taken app.invitation) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.close_invitation(taken.tenant_id, taken.id, 'declined');
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, target_id, data, personal, context)
    VALUES (taken.tenant_id, (app.next_event_ids(taken.tenant_id, 1))[1], 'invitation.declined', 1, 'user',
            'invitation', app.type_id('inv', taken.id), '{}', jsonb_build_object('email', taken.email), '{}');
END $$;

-- No, thank you. Also where nobody could accept any more: the holder does not want to be asked again.
-- Verdicts: done | unknown | accepted | declined | revoked | expired.
CREATE FUNCTION app.decline_invitation(token_hash bytea) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken app.invitation := app.take_invitation_of(token_hash);
BEGIN
    IF taken.id IS NULL THEN
        RETURN 'unknown';
    ELSIF taken.status <> 'pending' THEN
        RETURN taken.status;
    ELSIF taken.expires_at <= now() THEN
        RETURN 'expired';
    END IF;
    PERFORM app.end_declined(taken);
    RETURN 'done';
END $$;

GRANT EXECUTE ON FUNCTION
    app.preview_invitation(bytea), app.decline_invitation(bytea),
    app.join_by_invitation(bytea, uuid, text, text, text, integer, uuid,
                           uuid, bytea, bytea, interval, timestamptz, integer, jsonb)
    TO app_identity;
