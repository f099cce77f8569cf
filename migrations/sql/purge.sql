-- Tell the organization how many of a `kind` went; returns how many.
CREATE FUNCTION app.record_purged(tenant uuid, kind text, amount integer) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, target_id, data, context)
    VALUES (tenant, (app.next_event_ids(tenant, 1))[1], 'organization.data_purged', 1, 'system',
            'organization', app.type_id('org', tenant), jsonb_build_object('kind', kind, 'count', amount), '{}');
    SELECT amount
$$;

-- Delete for good what was soft-deleted longer ago than `age`, and 30 days at least: so long it can be restored. At most
-- `batch` rows of a table; returns how many.
-- Every tenant table with a deleted_at is found in the catalogue, so that a later one cannot be forgotten. Organizations
-- are not among them: they end with all they own (app.purge_organizations). Each organization's record says how much of
-- what went for good. One whose rows are locked, or cannot go, keeps nobody else's: it is tried again the next time.
CREATE FUNCTION app.purge_deleted(age interval, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    relation regclass;
    relation_name name;
    tenant uuid;
    ids uuid[];
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
        FOR tenant, ids IN EXECUTE format(
            'SELECT tenant_id, array_agg(id) FROM (SELECT tenant_id, id FROM %s WHERE deleted_at < $1'
            ' ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old GROUP BY tenant_id', relation)
            USING least(now() - age, now() - interval '30 days'), batch
        LOOP
            BEGIN
                EXECUTE format('DELETE FROM %s WHERE tenant_id = $1 AND id = ANY ($2)', relation) USING tenant, ids;
                total := total + app.record_purged(tenant, relation_name, cardinality(ids));
            EXCEPTION WHEN OTHERS THEN
                RAISE WARNING 'what % deleted of % stays for now: %', tenant, relation, SQLERRM;
            END;
        END LOOP;
    END LOOP;
    RETURN total;
END $$;

GRANT EXECUTE ON FUNCTION app.purge_deleted(interval, integer) TO app_platform;
