-- A person's own record: what happened to their account, which belongs to no organization. Doors write it, so that
-- nobody dates a line, nor adds one to another person's record: those of sign-in, and app.record_mine for what a
-- signed-in person does.

-- Ids in their order and behind the person's latest, like those of app.next_event_ids.
CREATE FUNCTION app.next_account_event_ids(person uuid, amount integer) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    proposed CONSTANT uuid[] := app.ids_of_now(amount);
    latest CONSTANT uuid := (
        SELECT e.id FROM app.account_event AS e
         WHERE e.user_id = person AND e.id > proposed[1] AND e.id < app.later_id(proposed[1], 86400000)
         ORDER BY e.id DESC LIMIT 1);
BEGIN
    RETURN CASE WHEN latest IS NULL THEN proposed ELSE app.moved_behind(latest, proposed) END;
END $$;

-- One line for each of the `targets`: sessions, invitations, or the person. `means` is the credential by which it was done.
CREATE FUNCTION app.record_account(
    person uuid, happened text, of_kind text, targets uuid[], means uuid, data jsonb, facts jsonb
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.account_event (user_id, id, type, version, credential_id, target_type, target_id, data, context)
    SELECT person, e.id, happened, 1, app.type_id('crd', means), of_kind,
           app.type_id(CASE of_kind WHEN 'session' THEN 'crd' WHEN 'invitation' THEN 'inv' ELSE 'usr' END, e.target), data, app.known_facts(facts)
      FROM ROWS FROM (unnest(app.next_account_event_ids(person, cardinality(targets))), unnest(targets))
           AS e (id, target);
END $$;

-- What the context's user did to their own account; inside an organization there is no such record to write to.
CREATE FUNCTION app.record_mine(events jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person CONSTANT uuid := app.user_id();
BEGIN
    IF person IS NULL OR app.tenant_id() IS NOT NULL THEN
        RAISE EXCEPTION 'a person''s own record is written outside of organizations' USING ERRCODE = '42501';
    END IF;
    IF jsonb_array_length(events) > 1000 THEN  -- each takes a millisecond of its own, and later ones follow
        RAISE EXCEPTION 'that is more than anybody does at once' USING ERRCODE = '54000';
    END IF;
    INSERT INTO app.account_event (user_id, id, type, version, credential_id, target_type, target_id, data, context)
    SELECT person, e.id, e.type, e.version, e.credential_id, e.target_type, e.target_id, e.data,
           app.known_facts(e.context)
      FROM ROWS FROM (
          unnest(app.next_account_event_ids(person, jsonb_array_length(events))),
          jsonb_to_recordset(events) AS (
              type text, version smallint, credential_id text, target_type text, target_id text, data jsonb,
              context jsonb)
      ) AS e (id, type, version, credential_id, target_type, target_id, data, context);
END $$;
GRANT EXECUTE ON FUNCTION app.record_mine(jsonb) TO app_rw;

-- Forget what is older than `age`, and 90 days at least; at most `batch` lines. Returns how many.
CREATE FUNCTION app.purge_account_events(age interval, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    removed integer;
BEGIN
    DELETE FROM app.account_event WHERE (user_id, id) IN (
        SELECT e.user_id, e.id FROM app.account_event AS e
         WHERE e.recorded_at < least(now() - age, now() - interval '90 days')
         ORDER BY e.recorded_at LIMIT batch);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END $$;
GRANT EXECUTE ON FUNCTION app.purge_account_events(interval, integer) TO app_platform;
