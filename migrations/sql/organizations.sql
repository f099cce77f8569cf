-- Doors that make, name, list and finally purge organizations.

-- An id as the API shows it (TypeID 0.3): 130 bits, of which the first two are zero, five to a character.
CREATE FUNCTION app.type_id(prefix text, id uuid) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT prefix || '_' || string_agg(
               substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + substring(bits FROM 5 * i + 1 FOR 5)::bit(5)::integer, 1),
               '' ORDER BY i)
      FROM (SELECT B'00' || ('x' || replace(id::text, '-', ''))::bit(128) AS bits) AS number, generate_series(0, 25) AS i
$$;

-- Make an organization with the session's user as its owner, write both events and sign the context for it.
-- Verdicts: created | unauthenticated | email_unverified | limit_reached | slug_taken.
-- slugs are tried in their order; reserved ones are taken. `most` cannot lift what the schema allows: 100. The profile is the user's; only its normalised form comes from outside, because
-- Postgres cannot fold case as Python does.
CREATE FUNCTION app.create_organization(
    secret_hash bytea, organization uuid, membership uuid, events uuid[], organization_name text, slugs text[],
    metadata jsonb, profile_name_norm text, most integer, facts jsonb
) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    founder record;
    slug text;
BEGIN
    -- The user's row is locked, so that requests at the same moment cannot pass the limit together.
    SELECT u.id, u.name, u.email, u.email_norm, u.email_verified_at, c.id AS credential_id
      INTO founder
      FROM app.credential c
      JOIN app."user" u ON u.id = c.user_id AND u.disabled_at IS NULL
     WHERE c.hash = secret_hash AND c.kind = 'session' AND c.revoked_at IS NULL
       AND c.expires_at > transaction_timestamp() AND c.last_used_at + c.idle_timeout > transaction_timestamp()
       FOR NO KEY UPDATE OF u;
    IF NOT FOUND THEN
        RETURN 'unauthenticated';
    ELSIF founder.email_verified_at IS NULL THEN
        RETURN 'email_unverified';
    ELSIF (SELECT count(*) FROM app.membership WHERE user_id = founder.id AND role = 'owner') >= least(most, 100) THEN
        RETURN 'limit_reached';
    END IF;

    -- An id has one organization for ever: what a purged one left behind is not for another's eyes.
    IF EXISTS (SELECT FROM app.event AS e WHERE e.tenant_id = organization) THEN
        RAISE EXCEPTION 'this id had an organization' USING ERRCODE = '23505';
    END IF;

    FOREACH slug IN ARRAY slugs LOOP
        INSERT INTO app.organization_slug VALUES (slug, organization)
            ON CONFLICT ON CONSTRAINT organization_slug_pkey DO NOTHING;
        EXIT WHEN FOUND;
        slug := NULL;
    END LOOP;
    IF slug IS NULL THEN
        RETURN 'slug_taken';
    END IF;
    INSERT INTO app.organization (tenant_id, id, name, slug, metadata)
    VALUES (organization, organization, organization_name, slug, metadata);
    INSERT INTO app.membership (tenant_id, id, user_id, role, name, name_norm, email, email_norm)
    VALUES (organization, membership, founder.id, 'owner',
            founder.name, profile_name_norm, founder.email, founder.email_norm);
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id,
                           target_type, target_id, data, personal, context)
    SELECT organization, e.id, e.type, 1, 'user', app.type_id('usr', founder.id),
           app.type_id('crd', founder.credential_id), e.target_type, e.target_id, e.data, e.personal, facts
      FROM (VALUES
               (events[1], 'organization.created', 'organization', app.type_id('org', organization),
                jsonb_build_object('name', organization_name, 'slug', slug, 'metadata', metadata), NULL),
               (events[2], 'member.added', 'member', app.type_id('mem', membership),
                jsonb_build_object('user_id', app.type_id('usr', founder.id), 'role', 'owner'),
                jsonb_build_object('name', founder.name, 'email', founder.email))
           ) AS e (id, type, target_type, target_id, data, personal);
    PERFORM app.set_context(organization, founder.id);
    RETURN 'created';
END $$;

-- Give the context's organization another slug; the old one is free at once. A taken one is refused by its key.
CREATE FUNCTION app.claim_slug(wanted text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE app.organization_slug SET slug = wanted WHERE tenant_id = app.tenant_id();
    UPDATE app.organization SET slug = wanted WHERE tenant_id = app.tenant_id();
END $$;

-- The organizations of the context's user. Inside an organization there is nothing to see: not even to its own SQL
-- may it tell where else its members are.
CREATE FUNCTION app.my_organizations()
RETURNS TABLE (
    id uuid, name text, slug text, status text, restorable_until timestamptz,
    member_id uuid, role text, member_status text, joined_at timestamptz, created_at timestamptz,
    version bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.id, o.name, o.slug,
           CASE WHEN o.deleted_at IS NOT NULL THEN 'deleted' WHEN o.suspended_at IS NOT NULL THEN 'suspended'
                ELSE 'active' END,
           o.restorable_until, m.id, m.role, m.status, m.created_at, o.created_at, o.version
      FROM app.membership AS m
      JOIN app.organization AS o ON o.tenant_id = m.tenant_id AND o.id = m.tenant_id
     WHERE m.user_id = app.user_id() AND app.tenant_id() IS NULL
$$;

GRANT EXECUTE ON FUNCTION
    app.create_organization(bytea, uuid, uuid, uuid[], text, text[], jsonb, text, integer, jsonb),
    app.claim_slug(text), app.my_organizations()
    TO app_rw;

-- Have `purge` (tenant, over, room) purge what each tenant has that was over by then, at most `batch` rows; returns how many
-- went, and of how many tenants some stays that could not go. One tenant has a share of the batch, a tenth at least: there
-- may always be more of it than a batch takes.
-- One whose rows are locked, or cannot go, keeps nobody else's: it is tried again the next time, and its share is spent.
-- Nor does one that is slow, until its statement is cancelled: what went before it stays gone, and who comes first is
-- chance. A statement is cancelled once, so that nothing would end the next one that is slow. Between two of them no
-- cancel is caught: where nobody is slow it is over long before that.
CREATE FUNCTION app.purge_each(
    tenants uuid[], purge regproc, over timestamptz, batch integer, OUT purged integer, OUT stayed integer
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    tenant uuid;
    removed integer;
    room integer := batch;
    share CONSTANT integer := greatest(batch / least(greatest(cardinality(tenants), 1), 10), 1);
BEGIN
    purged := 0;
    stayed := 0;
    FOR tenant IN SELECT t.id FROM (SELECT DISTINCT unnest(tenants) AS id) AS t ORDER BY random() LOOP
        BEGIN
            EXECUTE format('SELECT %s($1, $2, $3)', purge) INTO removed USING tenant, over, least(room, share);
            purged := purged + removed;
            room := room - removed;
        EXCEPTION
            WHEN query_canceled THEN
                RAISE WARNING 'what % wants of % stays for now: %', purge, tenant, SQLERRM;
                stayed := stayed + 1;
                EXIT;
            WHEN OTHERS THEN
                RAISE WARNING 'what % wants of % stays for now: %', purge, tenant, SQLERRM;
                stayed := stayed + 1;
                room := room - share;
        END;
        EXIT WHEN room <= 0 OR clock_timestamp() > statement_timestamp() + interval '5 seconds';
    END LOOP;
END $$;

-- Delete what is left of an organization whose restore window was `over` by then, at most `room` rows; returns how many.
-- Every table with a tenant_id is found in the catalogue: nobody has to remember this function when adding one.
-- Newer tables go first, since they refer to older ones. The organization's own row goes last: until then the next
-- run finds it and goes on. All that remains is one event, which says when.
CREATE FUNCTION app.purge_organization(doomed uuid, over timestamptz, room integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation regclass;
    removed integer;
    total integer := 0;
BEGIN
    PERFORM FROM app.organization
      WHERE tenant_id = doomed AND restorable_until <= over AND deleted_at IS NOT NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    FOR relation IN
        SELECT c.oid FROM pg_class AS c
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
         WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND c.oid <> 'app.organization'::regclass
         ORDER BY c.oid DESC
    LOOP
        EXECUTE format('DELETE FROM %1$s WHERE tenant_id = $1 AND (tableoid, ctid) IN'
                       ' (SELECT tableoid, ctid FROM %1$s WHERE tenant_id = $1 LIMIT $2)', relation)
          USING doomed, room - total;
        GET DIAGNOSTICS removed = ROW_COUNT;
        total := total + removed;
        IF total >= room THEN
            RETURN total;
        END IF;
    END LOOP;
    DELETE FROM app.organization WHERE tenant_id = doomed;
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, target_id, data, context)
    VALUES (doomed, (app.next_event_ids(doomed, 1))[1], 'organization.purged', 1, 'system',
            'organization', app.type_id('org', doomed), '{}', '{}');
    RETURN total + 1;
END $$;

-- Delete what is left of organizations whose restore window is over, at most `batch` rows; returns how many, and how
-- many organizations stay that could not go.
CREATE FUNCTION app.purge_organizations(batch integer, OUT purged integer, OUT stayed integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT each.purged, each.stayed INTO purged, stayed
      FROM app.purge_each(
               ARRAY(SELECT tenant_id FROM app.organization WHERE restorable_until <= now() AND deleted_at IS NOT NULL),
               'app.purge_organization', now(), batch) AS each;
END $$;

GRANT EXECUTE ON FUNCTION app.purge_organizations(integer) TO app_platform;
