-- Tell each of these organizations, which are named once for each row, how many of a `kind` went; returns how many in all.
CREATE FUNCTION app.record_purged(tenants uuid[], kind text) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, target_id, data, context)
    SELECT g.tenant, (app.next_event_ids(g.tenant, 1))[1], 'organization.data_purged', 1, 'system',
           'organization', app.type_id('org', g.tenant), jsonb_build_object('kind', kind, 'count', g.amount), '{}'
      FROM (SELECT t.tenant, count(*) AS amount FROM unnest(tenants) AS t (tenant) GROUP BY t.tenant) AS g;
    SELECT coalesce(cardinality(tenants), 0)
$$;

-- Delete for good what was soft-deleted longer ago than `age`, and 30 days at least: so long it can be restored. At most
-- `batch` rows of a table; returns how many.
-- Every tenant table with a deleted_at is found in the catalogue, so that a later one cannot be forgotten. Organizations
-- are not among them: they end with all they own (app.purge_organizations). Each organization's record says how much of
-- what went for good.
CREATE FUNCTION app.purge_deleted(age interval, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation regclass;
    relation_name name;
    removed integer;
    total integer := 0;
BEGIN
    FOR relation, relation_name IN
        SELECT c.oid, c.relname FROM pg_class AS c
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'deleted_at' AND NOT a.attisdropped
          JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
         WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND c.oid <> 'app.organization'::regclass
         ORDER BY c.oid DESC
    LOOP
        EXECUTE format('WITH gone AS (DELETE FROM %1$s WHERE (tenant_id, id) IN'
                       ' (SELECT tenant_id, id FROM %1$s WHERE deleted_at < $1'
                       ' ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING tenant_id)'
                       ' SELECT app.record_purged(array_agg(tenant_id), %2$L) FROM gone', relation, relation_name)
           INTO removed USING least(now() - age, now() - interval '30 days'), batch;
        total := total + removed;
    END LOOP;
    RETURN total;
END $$;

GRANT EXECUTE ON FUNCTION app.purge_deleted(interval, integer) TO app_platform;
