-- Delete for good what was soft-deleted longer ago than `age`, and 30 days at least: so long it can be restored. At most
-- `batch` rows of a table; returns how many.
-- Every tenant table with a deleted_at is found in the catalogue, so that a later one cannot be forgotten. Organizations
-- are not among them: they end with all they own (app.purge_organizations).
CREATE FUNCTION app.purge_deleted(age interval, batch integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation regclass;
    removed integer;
    total integer := 0;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_class AS c
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'deleted_at' AND NOT a.attisdropped
          JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped
         WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND c.oid <> 'app.organization'::regclass
         ORDER BY c.oid DESC
    LOOP
        EXECUTE format('DELETE FROM %1$s WHERE (tenant_id, id) IN'
                       ' (SELECT tenant_id, id FROM %1$s WHERE deleted_at < $1'
                       ' ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED)', relation)
          USING least(now() - age, now() - interval '30 days'), batch;
        GET DIAGNOSTICS removed = ROW_COUNT;
        total := total + removed;
    END LOOP;
    RETURN total;
END $$;

GRANT EXECUTE ON FUNCTION app.purge_deleted(interval, integer) TO app_platform;
