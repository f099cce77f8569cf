-- Monthly partitions of app.event by range on the UUIDv7 id, so that retention drops whole partitions.
-- Each carries its parent's row security itself: a partition named directly asks its own policies, not the parent's.
-- It is made beside its parent and attached: made as a partition, it would wait for all who read events, and everybody
-- who writes one would wait behind it.
CREATE FUNCTION app.create_event_partitions(starting timestamptz, months integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    month timestamptz := date_trunc('month', starting AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    name text;
    created integer := 0;
    bounds text[];
BEGIN
    IF months > 24 OR starting NOT BETWEEN now() - interval '2 years' AND now() + interval '2 years' THEN
        RAISE EXCEPTION 'months of events are made for two years at most' USING ERRCODE = '22023';
    END IF;
    FOR i IN 0..months LOOP
        name := 'event_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
        bounds := ARRAY(
            SELECT rpad(lpad(to_hex((extract(epoch FROM edge) * 1000)::bigint), 12, '0'), 32, '0')
              FROM unnest(ARRAY[month, month + interval '1 month']) WITH ORDINALITY AS e (edge, position)
             ORDER BY position);
        IF to_regclass('app.' || name) IS NULL THEN
            EXECUTE format('CREATE TABLE app.%I (LIKE app.event INCLUDING ALL EXCLUDING COMMENTS)', name);
            EXECUTE format('ALTER TABLE app.%I ENABLE ROW LEVEL SECURITY', name);
            EXECUTE format('ALTER TABLE app.%I FORCE ROW LEVEL SECURITY', name);
            EXECUTE format('CREATE POLICY isolation ON app.%I AS RESTRICTIVE TO app_rw'
                           ' USING (tenant_id = (SELECT app.tenant_id())) WITH CHECK (tenant_id = (SELECT app.tenant_id()))', name);
            EXECUTE format('CREATE POLICY access ON app.%I TO app_rw USING (true) WITH CHECK (true)', name);
            EXECUTE format('CREATE POLICY door ON app.%I TO app_door USING (true) WITH CHECK (true)', name);
            EXECUTE format('CREATE POLICY owner ON app.%I TO app_owner USING (true) WITH CHECK (true)', name);
            EXECUTE (SELECT format('ALTER TABLE app.%I ', name) || string_agg(format('ALTER %I SET STATISTICS 0', attname), ', ')
                       FROM pg_attribute
                      WHERE attrelid = format('app.%I', name)::regclass AND attnum > 0 AND NOT attisdropped
                        AND atttypid <> 'timestamptz'::regtype);
            EXECUTE format('COMMENT ON TABLE app.%I IS %L', name, 'class: tenant');
            EXECUTE format('ALTER TABLE app.event ATTACH PARTITION app.%I FOR VALUES FROM (%L) TO (%L)',
                           name, bounds[1]::uuid, bounds[2]::uuid);
            created := created + 1;
        END IF;
        month := (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    END LOOP;
    RETURN created;
END $$;

-- Drop the months that ended before anything kept began. Not below 90 days: whoever could say so could hide what they did.
-- Nobody may read or write an event meanwhile, so it waits for them so long only, and comes round again.
CREATE FUNCTION app.drop_event_partitions(kept interval) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    name text;
    dropped integer := 0;
BEGIN
    -- Moments are compared and not intervals: a month is 30 days to the one comparison, and itself to the subtraction.
    IF now() - kept > now() - interval '90 days' THEN
        RAISE EXCEPTION 'events are kept for 90 days at least' USING ERRCODE = '22023';
    END IF;
    FOR name IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'app.event'::regclass AND c.relname ~ '^event_[0-9]{4}_[0-9]{2}$'
           AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= (now() - kept) AT TIME ZONE 'UTC'
         ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE app.%I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
