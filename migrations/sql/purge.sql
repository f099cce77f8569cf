-- Tell the organization how many of a `kind` went; returns how many.
CREATE FUNCTION app.record_purged(tenant uuid, kind text, amount integer) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, target_id, data, context)
    VALUES (tenant, (app.next_event_ids(tenant, 1))[1], 'organization.data_purged', 1, 'system',
            'organization', app.type_id('org', tenant), jsonb_build_object('kind', kind, 'count', amount), '{}');
    SELECT amount
$$;

-- The tables whose rows can be soft-deleted, the newer first, which refer to older ones.
-- They are found in the catalogue, so that a later one cannot be forgotten. Organizations are not among them: they end
-- with all they own (app.purge_organizations).
CREATE FUNCTION app.soft_deleted_tables() RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid::regclass FROM pg_class AS c
      JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'deleted_at' AND NOT a.attisdropped
      JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
     WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND c.oid <> 'app.organization'::regclass
     ORDER BY c.oid DESC
$$;

-- Delete for good what an organization soft-deleted before `over`, at most `room` rows; returns how many. Its record says
-- how much of what went. The index of everybody's old rows, which names blocks only, is not asked again for each.
CREATE FUNCTION app.purge_deleted_of(tenant uuid, over timestamptz, room integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    relation regclass;
    removed integer;
    total integer := 0;
BEGIN
    FOR relation IN SELECT app.soft_deleted_tables() LOOP
        EXECUTE format('DELETE FROM %1$s WHERE tenant_id = $1 AND id = ANY (ARRAY('
                       'SELECT id FROM %1$s WHERE tenant_id = $1 AND deleted_at < $2 LIMIT $3 FOR UPDATE))', relation)
          USING tenant, over, room - total;
        GET DIAGNOSTICS removed = ROW_COUNT;
        IF removed > 0 THEN
            total := total + app.record_purged(tenant, (SELECT relname FROM pg_class WHERE oid = relation), removed);
        END IF;
    END LOOP;
    RETURN total;
END $$;

-- Delete for good what was soft-deleted longer ago than `age`, and 30 days at least: so long it can be restored. At most
-- `batch` rows; returns how many, and of how many organizations some stays that could not go.
CREATE FUNCTION app.purge_deleted(age interval, batch integer, OUT purged integer, OUT stayed integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    over CONSTANT timestamptz := least(now() - age, now() - interval '30 days');
    relation regclass;
    concerned uuid[];
    tenants uuid[] := '{}';
BEGIN
    FOR relation IN SELECT app.soft_deleted_tables() LOOP
        EXECUTE format('SELECT ARRAY(SELECT DISTINCT tenant_id FROM %s WHERE deleted_at < $1)', relation)
           INTO concerned USING over;
        tenants := tenants || concerned;
    END LOOP;
    SELECT each.purged, each.stayed INTO purged, stayed
      FROM app.purge_each(tenants, 'app.purge_deleted_of', over, batch) AS each;
END $$;

GRANT EXECUTE ON FUNCTION app.purge_deleted(interval, integer) TO app_platform;
