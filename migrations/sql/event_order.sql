-- Events are read in the order of their ids, so an event's id has to follow those of all that happened before it, also
-- when this machine's clock lags behind another's or was set back. `proposed` ids come in order; where an event of the
-- tenant is ahead of them, they are moved behind it, all by the same number of milliseconds. One that is more than a day
-- ahead is not followed: it would take all later ones along, out of their months. Nor is its partition looked into.
-- This is for doors; what a request leaves behind asks the same in the statement that writes it (core/journal.py).
CREATE FUNCTION app.follow_latest_event(tenant uuid, proposed uuid[]) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    began CONSTANT uuid := proposed[1];
    a_day_ahead CONSTANT uuid := app.later_id(began, 86400000);
    latest CONSTANT uuid := (
        SELECT e.id FROM app.event AS e
         WHERE e.tenant_id = tenant AND e.id > began AND e.id < a_day_ahead ORDER BY e.id DESC LIMIT 1);
BEGIN
    RETURN CASE WHEN latest IS NULL THEN proposed ELSE app.moved_behind(latest, proposed) END;
END $$;

CREATE FUNCTION app.moved_behind(latest uuid, proposed uuid[]) RETURNS uuid[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    behind CONSTANT bigint := app.milliseconds_of(latest) + 1 - app.milliseconds_of(proposed[1]);
BEGIN
    RETURN ARRAY(
        SELECT app.later_id(p.id, behind) FROM unnest(proposed) WITH ORDINALITY AS p (id, place) ORDER BY p.place);
END $$;

-- The first 48 bits of a UUIDv7 (RFC 9562, section 5.7).
CREATE FUNCTION app.milliseconds_of(id uuid) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint;
END $$;

CREATE FUNCTION app.later_id(id uuid, milliseconds bigint) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN encode(
        overlay(uuid_send(id) PLACING substr(int8send(app.milliseconds_of(id) + milliseconds), 3) FROM 1), 'hex')::uuid;
END $$;

-- UUIDv7s (RFC 9562) in order: the milliseconds, then what is random in a version 4.
CREATE FUNCTION app.ids_of_now(amount integer) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + place), 12, '0') || '7'
                || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
          FROM generate_series(0, amount - 1) AS place ORDER BY place);
END $$;

-- Ids for the events that a door writes, in order and behind the tenant's latest. They are made here, since a door's
-- caller may be SQL that would date them as it likes, in the record of an organization that it cannot even read.
CREATE FUNCTION app.next_event_ids(tenant uuid, amount integer) RETURNS uuid[]
LANGUAGE sql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp
AS $$ SELECT app.follow_latest_event(tenant, app.ids_of_now(amount)) $$;
GRANT EXECUTE ON FUNCTION app.next_event_ids(uuid, integer), app.ids_of_now(integer) TO app_door;

GRANT EXECUTE ON FUNCTION app.follow_latest_event(uuid, uuid[]) TO app_door;
GRANT EXECUTE ON FUNCTION app.milliseconds_of(uuid), app.later_id(uuid, bigint), app.moved_behind(uuid, uuid[])
    TO app_door, app_rw;
