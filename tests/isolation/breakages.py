"""Every way to break isolation that the catalogue check must see: the rule, then sentences and deeds."""

from insula.core.catalogue import grants, parts, rights, tables
from insula.core.rls import delete_door_body

_MINE = "user_id = (SELECT app.user_id()) AND (SELECT app.tenant_id()) IS NULL"
PEOPLES_VISITS = (
    (
        "SET LOCAL ROLE app_owner; CREATE TABLE app.visit (user_id uuid NOT NULL, id uuid NOT NULL, place integer, PRIMARY KEY (user_id, id))"
        " PARTITION BY RANGE (id); CREATE TABLE app.visit_1 PARTITION OF app.visit DEFAULT;"
        " GRANT SELECT, INSERT ON app.visit TO app_rw;"
    )
    + "".join(
        f"CREATE POLICY isolation ON {table} AS RESTRICTIVE TO app_rw USING ({_MINE}) WITH CHECK ({_MINE});"
        f" CREATE POLICY access ON {table} TO app_rw USING (true) WITH CHECK (true);"
        f" ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY,"
        " ALTER user_id SET STATISTICS 0, ALTER id SET STATISTICS 0, ALTER place SET STATISTICS 0;"
        f" COMMENT ON TABLE {table} IS 'class: user';"
        for table in ("app.visit", "app.visit_1")
    )
    + "RESET ROLE;"
)
"""A table in parts that breaks no rule."""

TABLES = {
    tables.every_table_says_its_class: {
        "a table without a class": "CREATE TABLE app.thing (id uuid)",
        "a table of a class nobody knows": "COMMENT ON TABLE app.project IS 'class: shared'",
        "a partition without a class": (
            "CREATE TABLE app.event_old PARTITION OF app.event FOR VALUES FROM"
            " ('00000000-0000-0000-0000-000000000000') TO ('00000000-0000-0000-0000-000000000001')"
        ),
    },
    tables.row_security_is_forced: {
        "row security switched off": "ALTER TABLE app.project DISABLE ROW LEVEL SECURITY",
        "row security not forced": "ALTER TABLE app.project NO FORCE ROW LEVEL SECURITY",
        "row security switched off in a partition": (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY',"
            " inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "row security switched off on the key that signs contexts": "ALTER TABLE app.door_key DISABLE ROW LEVEL SECURITY",
        "row security not forced on passwords": "ALTER TABLE app.password NO FORCE ROW LEVEL SECURITY",
    },
    tables.tenant_tables_have_the_tenants_key: {
        "a tenant table keyed by id alone": (
            "ALTER TABLE app.team_member DROP CONSTRAINT team_member_pkey, ADD PRIMARY KEY (id)"
        ),
        "a tenant table without a key": (
            "CREATE TABLE app.thing (tenant_id uuid NOT NULL DEFAULT app.tenant_id(), id uuid NOT NULL);"
            " COMMENT ON TABLE app.thing IS 'class: tenant'"
        ),
    },
    tables.the_tenant_comes_from_the_context: {
        "a tenant column without its default": "ALTER TABLE app.project ALTER tenant_id DROP DEFAULT",
        "a tenant column defaulted from a setting": (
            "ALTER TABLE app.project ALTER tenant_id SET DEFAULT current_setting('app.tenant_id')::uuid"
        ),
        "a tenant table without a tenant column": (
            "CREATE TABLE app.thing (id uuid); COMMENT ON TABLE app.thing IS 'class: tenant'"
        ),
    },
    tables.tenant_tables_are_isolated: {
        "no isolation policy": "DROP POLICY isolation ON app.project",
        "no access policy": "DROP POLICY access ON app.project",
        "a permissive isolation policy": (
            "DROP POLICY isolation ON app.project; CREATE POLICY isolation ON app.project TO app_rw USING"
            " (tenant_id = (SELECT app.tenant_id())) WITH CHECK (tenant_id = (SELECT app.tenant_id()))"
        ),
        "an isolation policy for reading only": (
            "DROP POLICY isolation ON app.project; CREATE POLICY isolation ON app.project AS RESTRICTIVE FOR"
            " SELECT TO app_rw USING (tenant_id = (SELECT app.tenant_id()))"
        ),
        "an isolation policy that checks no writes": "ALTER POLICY isolation ON app.project WITH CHECK (true)",
        "an isolation policy on an unsigned setting": (
            "ALTER POLICY isolation ON app.project USING (tenant_id = current_setting('app.tenant_id')::uuid)"
        ),
        "an isolation policy with a way out": (
            "ALTER POLICY isolation ON app.project USING (tenant_id = (SELECT app.tenant_id()) OR status = 'archived')"
        ),
        "an isolation policy for another role": "ALTER POLICY isolation ON app.project TO app_platform",
        "a policy asked once per row": "ALTER POLICY isolation ON app.project USING (tenant_id = app.tenant_id())",
        "a third policy for app_rw": "CREATE POLICY more ON app.project FOR SELECT TO app_rw USING (true)",
        "a policy for everybody": "CREATE POLICY more ON app.project USING (true)",
        "no isolation policy in a partition": (
            "DO $$ BEGIN EXECUTE (SELECT format('DROP POLICY isolation ON %s', inhrelid::regclass) FROM"
            " pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
    },
    tables.values_are_not_counted: {
        "ids that the planner knows": "ALTER TABLE app.project ALTER team_id SET STATISTICS -1",
        "names that the planner counts": "ALTER TABLE app.project ALTER name SET STATISTICS -1",
        "people that the planner knows": 'ALTER TABLE app."user" ALTER id SET STATISTICS 100',
        "values that an index counts": "CREATE INDEX project_ref ON app.project (tenant_id, ((metadata ->> 'ref')::uuid))",
        "statistics of an expression": "CREATE STATISTICS app.project_names ON lower(name) FROM app.project",
        "ids of a month's events that the planner knows": (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s ALTER id SET STATISTICS -1', inhrelid::regclass)"
            " FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
    },
    tables.user_tables_are_isolated: {
        "a user table without its isolation policy": "DROP POLICY isolation ON app.idempotency",
        "a user table isolated by a column that may be empty": (
            "ALTER TABLE app.idempotency ADD other uuid; ALTER POLICY isolation ON app.idempotency USING (other"
            " = (SELECT app.user_id())) WITH CHECK (other = (SELECT app.user_id()))"
        ),
        "a user table with a policy for everybody": 'CREATE POLICY more ON app."user" FOR SELECT USING (true)',
        "a user table that is changed inside of organizations": (
            'ALTER POLICY isolation ON app."user" USING (id = (SELECT app.user_id())) WITH CHECK (id = (SELECT'
            " app.user_id()))"
        ),
        "a user table that is read inside of organizations": "GRANT SELECT ON app.idempotency TO app_rw",
    },
    tables.unique_keys_start_with_their_owner: {
        "a global unique name": "CREATE UNIQUE INDEX project_name_once ON app.project (name_norm)",
        "a unique name with the tenant behind it": (
            "CREATE UNIQUE INDEX project_name_once ON app.project (name_norm, tenant_id)"
        ),
        "a unique index over an expression": "CREATE UNIQUE INDEX project_name_once ON app.project (lower(name))",
        "a unique name that people may write": 'CREATE UNIQUE INDEX user_name_once ON app."user" (name)',
        "a unique name that people may write in capitals": (
            'CREATE UNIQUE INDEX user_name_once ON app."user" (lower(name))'
        ),
        "a unique value made of a name that people may write": (
            'ALTER TABLE app."user" ADD initial text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE'
        ),
        "a unique value in a part of what people may write": PEOPLES_VISITS
        + "CREATE UNIQUE INDEX visit_place_once ON app.visit_1 (place)",
        "a unique name of what requests leave for others": (
            "ALTER TABLE app.outbox ADD once uuid UNIQUE; GRANT INSERT (once) ON app.outbox TO app_rw"
        ),
        "a unique key of what belongs to no organization": (
            "CREATE UNIQUE INDEX outbox_once ON app.outbox (tenant_id, task) NULLS NOT DISTINCT"
        ),
        "a unique key of what a person left in all of their organizations": (
            "CREATE UNIQUE INDEX outbox_once ON app.outbox (user_id, task)"
        ),
        "a unique value made of what requests leave for others": (
            "CREATE UNIQUE INDEX outbox_once ON app.outbox (md5(payload::text))"
        ),
        "times that exclude other tenants' times": (
            "ALTER TABLE app.project ADD during tstzrange, ADD EXCLUDE USING gist (during WITH &&)"
        ),
        "times that exclude other tenants' times and no time of one's own": (
            "ALTER TABLE app.project ADD place circle, ADD during tstzrange,"
            " ADD EXCLUDE USING gist (during WITH &&, place WITH ~=)"
        ),
    },
    tables.references_pair_the_tenant: {
        "a simple foreign key": (
            "ALTER TABLE app.team ADD CONSTRAINT team_id_once UNIQUE (id); ALTER TABLE app.project ADD FOREIGN"
            " KEY (team_id) REFERENCES app.team (id)"
        ),
        "a foreign key from outside into a tenant table": (
            "ALTER TABLE app.team ADD CONSTRAINT team_id_once UNIQUE (id); ALTER TABLE app.tick ADD team_id"
            " uuid REFERENCES app.team (id)"
        ),
        "a foreign key that pairs the tenant with something else": (
            "ALTER TABLE app.project ADD other uuid, ADD FOREIGN KEY (other, team_id) REFERENCES app.team"
            " (tenant_id, id)"
        ),
    },
    tables.references_clear_only_themselves: {
        "a foreign key that clears the tenant": (
            "ALTER TABLE app.project ADD FOREIGN KEY (tenant_id, created_by) REFERENCES app.membership ON"
            " DELETE SET NULL"
        ),
        "a foreign key that clears the tenant by name": (
            "ALTER TABLE app.project ADD FOREIGN KEY (tenant_id, created_by) REFERENCES app.membership ON"
            " DELETE SET NULL (tenant_id, created_by)"
        ),
    },
    tables.references_outwards_are_not_writable: {
        "a foreign key that asks about people": (
            'ALTER TABLE app.project ADD assignee uuid REFERENCES app."user" (id); GRANT UPDATE (assignee) ON'
            " app.project TO app_rw"
        ),
        "a foreign key with which a person names any tenant": (
            "ALTER TABLE app.idempotency ADD tenant_id uuid, ADD team_id uuid, ADD FOREIGN KEY (tenant_id, team_id)"
            " REFERENCES app.team (tenant_id, id); GRANT INSERT (tenant_id, team_id) ON app.idempotency TO app_rw"
        ),
        "a foreign key that asks about people from a part of a table": (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s ADD FOREIGN KEY (id) REFERENCES app.\"user\" (id)',"
            " inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "a foreign key that asks about people by a computed value": (
            'ALTER TABLE app."user" ADD friend uuid GENERATED ALWAYS AS (md5(name)::uuid) STORED'
            ' REFERENCES app."user" (id)'
        ),
    },
    tables.rows_are_not_numbered: {
        "an identity column": "ALTER TABLE app.project ADD number bigint GENERATED ALWAYS AS IDENTITY",
        "a serial column": "ALTER TABLE app.project ADD number serial",
        "a number for every person": 'ALTER TABLE app."user" ADD number bigint GENERATED ALWAYS AS IDENTITY',
    },
    tables.what_requests_write_has_bounds: {
        "a moment without bounds": "ALTER TABLE app.project ADD due timestamptz",
        "a moment that may lie far ahead": (
            "ALTER TABLE app.project ADD due timestamptz CHECK (due BETWEEN '2000-01-01 UTC' AND '9000-01-01 UTC')"
        ),
        "a moment whose bounds went": "ALTER TABLE app.organization DROP CONSTRAINT organization_restorable_until_check",
        "a text of any length": "ALTER TABLE app.project ADD notes text",
        "a text with a way around its length": (
            "ALTER TABLE app.project ADD notes text CHECK (octet_length(notes) <= 10 OR notes LIKE 'x%')"
        ),
        "a text of up to a gigabyte": "ALTER TABLE app.project ADD notes text CHECK (octet_length(notes) <= 999999999)",
        "a document of any size": "ALTER TABLE app.project ADD details jsonb",
        "a short text of any length": "ALTER TABLE app.project ADD notes varchar",
        "texts of any number": "ALTER TABLE app.project ADD labels text[]",
        "short texts of any number": "ALTER TABLE app.project ADD labels varchar(40)[]",
        "a text of a length that is no bound": "ALTER TABLE app.project ADD notes varchar(10485760)",
        "a text whose bound nobody enforces": (
            "ALTER TABLE app.project ADD notes text; DO $$ BEGIN IF current_setting('server_version_num')::int >= 180000"
            " THEN EXECUTE 'ALTER TABLE app.project ADD CHECK (octet_length(notes) <= 100) NOT ENFORCED'; END IF; END $$"
        ),
        "bytes of any number": "ALTER TABLE app.project ADD picture bytea",
        "a day without bounds": "ALTER TABLE app.project ADD day date",
        "a number of any length": "ALTER TABLE app.project ADD amount numeric",
        "a moment of no zone": "ALTER TABLE app.project ADD at timestamp",
        "a text that requests may leave for others": (
            "ALTER TABLE app.outbox ADD hint text; GRANT INSERT (hint) ON app.outbox TO app_rw"
        ),
    },
    tables.views_ask_as_their_reader: {
        "a view with its owner's rights": "CREATE VIEW app.projects AS SELECT * FROM app.project",
        "a view elsewhere, of a view of ours that asks as its reader": (
            "CREATE VIEW app.projects WITH (security_invoker = true) AS SELECT * FROM app.project;"
            " CREATE SCHEMA monitoring; CREATE VIEW monitoring.projects AS SELECT * FROM app.projects"
        ),
        "a materialized view elsewhere": (
            "CREATE SCHEMA monitoring; CREATE MATERIALIZED VIEW monitoring.numbers AS SELECT count(*) FROM app.project"
        ),
        "a view elsewhere that asks one of our functions": (
            "CREATE SCHEMA monitoring; CREATE VIEW monitoring.tenant AS SELECT app.tenant_id()"
        ),
        "a materialized view": "CREATE MATERIALIZED VIEW app.projects AS SELECT * FROM app.project",
        "a foreign table": (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE"
            " app.far (id uuid) SERVER s"
        ),
    },
    tables.nothing_runs_by_itself: {
        "a trigger": (
            "CREATE TRIGGER t BEFORE INSERT ON app.project FOR EACH ROW EXECUTE FUNCTION app.wait_until_due()"
        ),
        "a trigger of a known name": (
            "CREATE TRIGGER count_version BEFORE INSERT ON app.team FOR EACH ROW EXECUTE FUNCTION app.wait_until_due()"
        ),
        "a known trigger that calls something else": (
            "DROP TRIGGER wait_until_due ON app.outbox; CREATE TRIGGER wait_until_due BEFORE UPDATE ON app.outbox"
            " FOR EACH ROW EXECUTE FUNCTION app.count_version()"
        ),
        "a rule elsewhere that changes ours": (
            "CREATE SCHEMA monitoring; CREATE TABLE monitoring.sample (id uuid); CREATE RULE r AS ON DELETE"
            " TO monitoring.sample DO ALSO DELETE FROM app.project WHERE id = OLD.id"
        ),
        "a rule": "CREATE RULE r AS ON DELETE TO app.project DO ALSO NOTIFY x",
    },
}

PARTS = {
    parts.partitions_are_of_their_tables_class: {
        "a partition that says it is the registry's": (
            "DO $$ BEGIN EXECUTE (SELECT format('COMMENT ON TABLE %s IS %L', inhrelid::regclass, 'class: registry')"
            " FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "a table that inherits from another": (
            "CREATE TABLE app.team_old () INHERITS (app.team); COMMENT ON TABLE app.team_old IS 'class: tenant'"
        ),
    },
    parts.parts_stay_in_the_schema: {
        "a month of events that was archived": (
            "CREATE SCHEMA archive; DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s SET SCHEMA archive',"
            " inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "a month of events in a schema with a name like ours": (
            'CREATE SCHEMA "app.archive"; DO $$ BEGIN EXECUTE (SELECT format(\'ALTER TABLE %s SET SCHEMA "app.archive"\','
            " inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "a month of events among the system's tables": (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s SET SCHEMA pg_catalog',"
            " inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "a month of events of an extension's": (
            "CREATE SCHEMA archive; CREATE EXTENSION btree_gist SCHEMA archive;"
            " DO $$ DECLARE month text; BEGIN SELECT relname INTO month FROM pg_inherits JOIN pg_class ON oid = inhrelid"
            " WHERE inhparent = 'app.event'::regclass LIMIT 1;"
            " EXECUTE format('ALTER TABLE app.%I SET SCHEMA archive', month);"
            " EXECUTE format('ALTER EXTENSION btree_gist ADD TABLE archive.%I', month); END $$"
        ),
        "a part of a part": (
            "CREATE SCHEMA archive; CREATE TABLE app.event_old PARTITION OF app.event FOR VALUES FROM"
            " ('00000000-0000-0000-0000-000000000000') TO ('00000000-0000-0000-0000-000000000001')"
            " PARTITION BY RANGE (id); CREATE TABLE archive.event_old PARTITION OF app.event_old DEFAULT"
        ),
        "a table elsewhere that inherits from one of ours": (
            "CREATE SCHEMA archive; CREATE TABLE archive.team () INHERITS (app.team)"
        ),
        "a table of ours that is a part of one elsewhere": (
            "CREATE SCHEMA archive; CREATE TABLE archive.everything (id uuid) PARTITION BY RANGE (id);"
            " CREATE TABLE app.some PARTITION OF archive.everything DEFAULT"
        ),
    },
    parts.nobody_has_a_part_of_their_own: {
        "an index of one tenant's rows": (
            "CREATE INDEX project_big ON app.project (tenant_id, id)"
            " WHERE tenant_id = '00000000-0000-0000-0000-000000000001'"
        ),
        "an index of some people's rows": (
            "CREATE INDEX user_early ON app.\"user\" (id) WHERE id < '01900000-0000-0000-0000-000000000000'"
        ),
        "an index of one tenant's jobs": (
            "CREATE INDEX outbox_big ON app.outbox (due_at) WHERE lane = '00000000-0000-0000-0000-000000000001'"
        ),
        "an index of one tenant's credentials": (
            "CREATE INDEX credential_big ON app.credential (id)"
            " WHERE tenant_id = '00000000-0000-0000-0000-000000000001'"
        ),
        "an index of some tenants' rows, by what is computed of them": (
            "ALTER TABLE app.project ADD part integer GENERATED ALWAYS AS (hashtext(tenant_id::text)) STORED;"
            " CREATE INDEX project_part ON app.project (tenant_id, id) WHERE part = 5"
        ),
        "an index of whole rows that a function chooses": (
            "CREATE FUNCTION app.early(app.team) RETURNS boolean LANGUAGE sql IMMUTABLE AS"
            " $$ SELECT $1.tenant_id < '01900000-0000-0000-0000-000000000000' $$;"
            " CREATE INDEX team_early ON app.team (tenant_id, id) WHERE app.early(team)"
        ),
        "an index of one person's memberships": (
            "CREATE INDEX membership_early ON app.membership (tenant_id, id)"
            " WHERE user_id < '01900000-0000-0000-0000-000000000000'"
        ),
        "an index of one team's projects": (
            "CREATE INDEX project_hot ON app.project (tenant_id, id)"
            " WHERE team_id = '00000000-0000-0000-0000-000000000001'"
        ),
        "an index of the events of somebody, by a name": (
            "CREATE INDEX event_hot ON app.event (tenant_id, id) WHERE actor_id = 'usr_01'"
        ),
        "an index of people at one company": (
            "CREATE INDEX user_of_acme ON app.\"user\" (id) WHERE email LIKE '%@acme.example'"
        ),
        "an index of what somebody wrote": (
            "CREATE INDEX project_acme ON app.project (tenant_id, id) WHERE metadata ->> 'customer' = 'acme'"
        ),
        "an index of one organization": (
            "CREATE INDEX organization_hot ON app.organization (tenant_id, id)"
            " WHERE id = '00000000-0000-0000-0000-000000000001'"
        ),
        "an index of one tenant's rows, by another column that names it": (
            "ALTER TABLE app.project ADD shard text DEFAULT app.tenant_id()::text;"
            " CREATE INDEX project_shard ON app.project (tenant_id, id) WHERE shard = '5'"
        ),
        "an index of some teams' rows, by what is computed of them": (
            "ALTER TABLE app.project ADD part integer GENERATED ALWAYS AS (hashtext(team_id::text)) STORED;"
            " CREATE INDEX project_part ON app.project (tenant_id, id) WHERE part = 5"
        ),
        "a table in parts by the hash of its teams": (
            "CREATE TABLE app.thing (tenant_id uuid, id uuid, team_id uuid) PARTITION BY HASH (team_id);"
            " COMMENT ON TABLE app.thing IS 'class: tenant'"
        ),
        "a table in parts by its tenants": (
            "CREATE TABLE app.thing (tenant_id uuid, id uuid) PARTITION BY LIST (tenant_id);"
            " COMMENT ON TABLE app.thing IS 'class: tenant'"
        ),
        "a table in parts by the hash of its tenants": (
            "CREATE TABLE app.thing (tenant_id uuid, id uuid) PARTITION BY HASH (tenant_id);"
            " COMMENT ON TABLE app.thing IS 'class: tenant'"
        ),
        "a person's table in parts by the hash of them": PEOPLES_VISITS.replace("RANGE (id)", "HASH (user_id)").replace(
            "DEFAULT", "FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
        ),
        "a table in parts by the first digits of its tenants": (
            "CREATE TABLE app.thing (tenant_id uuid, id uuid) PARTITION BY RANGE (left(tenant_id::text, 8));"
            " COMMENT ON TABLE app.thing IS 'class: tenant'"
        ),
    },
}

GRANTS = {
    grants.rows_cannot_move: {
        "an UPDATE grant on a whole tenant table": "GRANT UPDATE ON app.project TO app_rw",
        "an UPDATE grant on tenant_id": "GRANT UPDATE (tenant_id) ON app.project TO app_rw",
        "an UPDATE grant on id": "GRANT UPDATE (id) ON app.project TO app_rw",
        "an UPDATE grant on a user table's owner": "GRANT UPDATE (user_id) ON app.idempotency TO app_rw",
    },
    grants.nothing_reaches_past_rows: {
        "TRUNCATE": "GRANT TRUNCATE ON app.project TO app_rw",
        "REFERENCES": "GRANT REFERENCES ON app.project TO app_rw",
        "REFERENCES on a column": "GRANT REFERENCES (id) ON app.project TO app_rw",
        "TRIGGER": "GRANT TRIGGER ON app.project TO app_platform",
        "a grant that can be passed on": "GRANT SELECT ON app.project TO app_rw WITH GRANT OPTION",
    },
    grants.nothing_is_granted_to_everybody: {
        "a grant to everybody": "GRANT SELECT ON app.project TO PUBLIC",
        "a view among the system's": (
            "CREATE VIEW public.names WITH (security_invoker = true) AS SELECT name FROM app.project;"
            " ALTER VIEW public.names SET SCHEMA pg_catalog; GRANT SELECT ON pg_catalog.names TO PUBLIC"
        ),
        "a table granted to app_identity": 'GRANT SELECT (id) ON app."user" TO app_identity',
    },
    grants.nobody_else_holds_anything: {
        "a stranger who reads": "CREATE ROLE stranger; GRANT SELECT ON app.project TO stranger",
        "a stranger who reads a table elsewhere that refers to ours": (
            "CREATE ROLE stranger; CREATE SCHEMA monitoring; CREATE TABLE monitoring.sample (tenant_id uuid, id uuid,"
            " FOREIGN KEY (tenant_id, id) REFERENCES app.project); GRANT SELECT ON monitoring.sample TO stranger"
        ),
        "a stranger who counts": (
            "CREATE ROLE stranger; CREATE SEQUENCE app.ticket_number; GRANT USAGE ON SEQUENCE app.ticket_number TO stranger"
        ),
        "a migrator who writes by a grant": "GRANT INSERT (name) ON app.team TO app_migrator",
        "a stranger who reads everything, and a policy": (
            "CREATE ROLE stranger IN ROLE pg_read_all_data;"
            " CREATE POLICY stranger ON app.project FOR SELECT TO stranger USING (true)"
        ),
        "a stranger who reads everything, and a policy of a part of a table": (
            "CREATE ROLE stranger IN ROLE pg_read_all_data;"
            " DO $$ BEGIN EXECUTE (SELECT format('CREATE POLICY stranger ON %s FOR SELECT TO stranger, app_door USING (true)',"
            " inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "a stranger who reads everything, and a policy of the key of the doors": (
            "CREATE ROLE stranger IN ROLE pg_read_all_data;"
            " CREATE POLICY stranger ON app.door_key FOR SELECT TO stranger USING (true)"
        ),
    },
    grants.partitions_have_no_grants: {
        "a grant on a partition": (
            "DO $$ BEGIN EXECUTE (SELECT format('GRANT SELECT ON %s TO app_rw', inhrelid::regclass) FROM"
            " pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
    },
    grants.the_platform_reads_nobodys_rows: {
        "housekeeping that reads projects": "GRANT SELECT ON app.project TO app_platform",
        "housekeeping that reads people": 'GRANT SELECT (email) ON app."user" TO app_platform',
        "a policy for housekeeping": "CREATE POLICY platform ON app.event TO app_platform USING (true)",
    },
    grants.sequences_are_nobodys: {
        "a sequence that requests look at": (
            "CREATE SEQUENCE app.ticket_number; GRANT SELECT ON SEQUENCE app.ticket_number TO app_rw"
        ),
        "a sequence that everybody looks at": (
            "CREATE SEQUENCE app.ticket_number; GRANT SELECT ON SEQUENCE app.ticket_number TO PUBLIC"
        ),
    },
    grants.registry_tables_are_for_doors_alone: {
        "a registry that requests read": "GRANT SELECT ON app.organization_slug TO app_rw",
        "a registry column that requests read": "GRANT SELECT (id) ON app.credential TO app_rw",
        "a registry that operators read": "GRANT SELECT ON app.credential TO app_platform",
        "a registry policy for requests": (
            "CREATE POLICY more ON app.credential TO app_rw USING (user_id = (SELECT app.user_id()))"
        ),
        "the key of the doors": "GRANT SELECT ON app.door_key TO app_rw",
    },
    grants.platform_tables_take_inserts_at_most: {
        "an outbox that requests read": "GRANT SELECT (payload) ON app.outbox TO app_rw",
        "an outbox that takes anybody's jobs": "ALTER POLICY enqueue ON app.outbox WITH CHECK (true)",
        "an outbox that takes nobody's jobs": (
            "ALTER POLICY enqueue ON app.outbox WITH CHECK (tenant_id IS NOT DISTINCT FROM (SELECT app.tenant_id())"
            " AND user_id IS NOT DISTINCT FROM (SELECT app.user_id()))"
        ),
        "a platform table that takes inserts unchecked": "GRANT INSERT ON app.tick TO app_rw",
        "a platform policy for requests": "CREATE POLICY more ON app.operator FOR SELECT TO app_rw USING (true)",
    },
    grants.secrets_are_unreadable: {
        "a secret that requests read": "ALTER TABLE app.project ADD share_secret text",
        "a hash that requests read by name": (
            "ALTER TABLE app.outbox ADD other_hash bytea; GRANT SELECT (other_hash) ON app.outbox TO app_rw"
        ),
    },
    grants.nobody_can_lock_a_table: {
        "a table whose rows requests may delete": "GRANT DELETE ON app.team TO app_rw",
        "a table that requests may update as a whole": "GRANT UPDATE ON app.team TO app_rw",
        "a table that requests may delete from as anybody": "GRANT DELETE ON app.project TO PUBLIC",
    },
    grants.what_happened_is_only_added_to: {
        "events that can be deleted": "GRANT DELETE ON app.event TO app_rw",
        "events that can be rewritten": "GRANT UPDATE (data) ON app.event TO app_platform",
        "what happened to people that can be deleted": "GRANT DELETE ON app.account_event TO app_rw",
        "operators' decisions that can be rewritten": "GRANT UPDATE ON app.operator_action TO app_platform",
    },
    grants.tables_elsewhere_are_nobodys: {
        "a table in another schema": "CREATE TABLE public.thing (id uuid); GRANT SELECT ON public.thing TO app_rw",
    },
}

RIGHTS = {
    rights.functions_are_pinned: {
        "a function that trusts the caller's search_path": "ALTER FUNCTION app.enter(bytea, uuid) RESET search_path",
        "a function with a search_path of its own": "ALTER FUNCTION app.user_id() SET search_path = app, pg_catalog",
    },
    rights.functions_lend_the_doors_rights: {
        "a door that runs as the owner": "ALTER FUNCTION app.enter(bytea, uuid) OWNER TO app_owner",
        "a guard that a stranger may change": (
            "CREATE ROLE stranger; ALTER FUNCTION migration.refuse_logins() OWNER TO stranger"
        ),
        "a superuser's function elsewhere that the door may call": (
            "CREATE FUNCTION public.look() RETURNS text LANGUAGE sql SECURITY DEFINER AS"
            " $$ SELECT passwd FROM pg_shadow LIMIT 1 $$; REVOKE ALL ON FUNCTION public.look() FROM PUBLIC;"
            " GRANT USAGE ON SCHEMA public TO app_door; GRANT EXECUTE ON FUNCTION public.look() TO app_door"
        ),
        "a superuser's function among the system's that the door may call": (
            "CREATE FUNCTION pg_catalog.look() RETURNS text LANGUAGE sql SECURITY DEFINER AS"
            " $$ SELECT passwd FROM pg_shadow LIMIT 1 $$; REVOKE ALL ON FUNCTION pg_catalog.look() FROM PUBLIC;"
            " GRANT EXECUTE ON FUNCTION pg_catalog.look() TO app_door"
        ),
        "a door in a schema of a monitor's": (
            "CREATE ROLE stranger; CREATE SCHEMA monitoring; GRANT USAGE ON SCHEMA monitoring TO stranger;"
            " CREATE FUNCTION monitoring.organizations() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS"
            " 'SELECT count(*) FROM app.organization'; ALTER FUNCTION monitoring.organizations() OWNER TO app_door"
        ),
        "a migrator's function in a schema of a monitor's": (
            "CREATE SCHEMA monitoring; CREATE FUNCTION monitoring.organizations() RETURNS bigint LANGUAGE sql"
            " SECURITY DEFINER AS 'SELECT count(*) FROM app.organization';"
            " ALTER FUNCTION monitoring.organizations() OWNER TO app_migrator"
        ),
        "a door that runs as a superuser": (
            "ALTER FUNCTION app.create_event_partitions(timestamptz, integer) OWNER TO CURRENT_USER"
        ),
    },
    rights.doors_open_to_whom_they_are_for: {
        "a door nobody listed": (
            "CREATE FUNCTION app.become(uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path ="
            " pg_catalog, pg_temp AS $$ SELECT app.set_context($1, $1) $$; ALTER FUNCTION app.become(uuid) OWNER"
            " TO app_door; GRANT EXECUTE ON FUNCTION app.become(uuid) TO app_rw"
        ),
        "a function that signs contexts for requests": (
            "GRANT EXECUTE ON FUNCTION app.set_context(uuid, uuid) TO app_rw"
        ),
        "a door opened to another login": "GRANT EXECUTE ON FUNCTION app.enter(bytea, uuid) TO app_identity",
        "a door that deletes whoever's row it is": (
            "CREATE FUNCTION app.delete_project(row_id uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp AS $$ BEGIN DELETE FROM app.project WHERE id = row_id;"
            " RETURN FOUND; END $$; ALTER FUNCTION app.delete_project(uuid) OWNER TO app_door;"
            " REVOKE ALL ON FUNCTION app.delete_project FROM PUBLIC; GRANT EXECUTE ON FUNCTION app.delete_project TO app_rw"
        ),
        "a door that deletes what happened": (
            "CREATE FUNCTION app.delete_event(row_id uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp"
            f" AS {delete_door_body('event')}; ALTER FUNCTION app.delete_event(uuid) OWNER TO app_door;"
            " REVOKE ALL ON FUNCTION app.delete_event FROM PUBLIC; GRANT EXECUTE ON FUNCTION app.delete_event TO app_rw"
        ),
        "a door that is shut": "REVOKE EXECUTE ON FUNCTION app.enter(bytea, uuid) FROM app_rw",
    },
    rights.doors_open_to_logins_alone: {
        "a function open to everybody": "GRANT EXECUTE ON FUNCTION app.enter(bytea, uuid) TO PUBLIC",
        "a function that signs contexts for a stranger": (
            "CREATE ROLE stranger; GRANT EXECUTE ON FUNCTION app.set_context(uuid, uuid) TO stranger"
        ),
    },
    rights.doors_have_one_form: {
        "a second function under a door's name": (
            "CREATE FUNCTION app.enter(uuid) RETURNS void LANGUAGE sql AS $$ SELECT $$"
        ),
    },
    rights.functions_elsewhere_are_nobodys: {
        "a function beside the revision": (
            "CREATE FUNCTION migration.peek() RETURNS SETOF app.project LANGUAGE sql SECURITY DEFINER"
            " AS $$ SELECT * FROM app.project $$; ALTER FUNCTION migration.peek() OWNER TO app_door"
        ),
        "a function of the system's that was replaced": (
            "CREATE OR REPLACE FUNCTION pg_catalog.ts_debug(document text, OUT alias text, OUT description text,"
            " OUT token text, OUT dictionaries regdictionary[], OUT dictionary regdictionary, OUT lexemes text[])"
            " RETURNS SETOF record LANGUAGE sql STABLE STRICT SECURITY DEFINER AS $$ SELECT rolpassword, '', '',"
            " ARRAY[]::regdictionary[], NULL::regdictionary, ARRAY[]::text[] FROM pg_authid $$"
        ),
        "a function that says it looks at a language's": (
            "CREATE FUNCTION pg_catalog.peek(oid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS"
            " 'BEGIN PERFORM FROM app.project; END';"
            " CREATE LANGUAGE another HANDLER plpgsql_call_handler VALIDATOR pg_catalog.peek"
        ),
        "a function among the system's": (
            "CREATE FUNCTION pg_catalog.names() RETURNS text LANGUAGE sql SECURITY DEFINER AS"
            " $$ SELECT string_agg(name, ', ') FROM app.organization $$"
        ),
        "an extension among the system's": "CREATE EXTENSION btree_gist SCHEMA pg_catalog",
        "a function in a schema that logins see": (
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; GRANT USAGE ON SCHEMA"
            " public TO app_rw"
        ),
    },
    rights.the_context_is_asked_once: {
        "a context that parallel workers ask for": "ALTER FUNCTION app.tenant_id() PARALLEL SAFE",
        "a context asked once per row": "ALTER FUNCTION app.user_id() VOLATILE",
        "a context read with the caller's rights": "ALTER FUNCTION app.tenant_id() SECURITY INVOKER",
    },
    rights.roles_have_no_rights_of_their_own: {
        "a login that bypasses row security": "ALTER ROLE app_platform BYPASSRLS",
        "a login that makes roles": "ALTER ROLE app_rw CREATEROLE",
        "a login that makes databases": "ALTER ROLE app_identity CREATEDB",
        "a login that replicates": "ALTER ROLE app_rw REPLICATION",
        "a superuser among the doors": "ALTER ROLE app_door SUPERUSER",
        "a migrator that bypasses row security": "ALTER ROLE app_migrator BYPASSRLS",
    },
    rights.logins_are_only_themselves: {
        "a login that can become another": "GRANT app_platform TO app_rw",
        "a login that reads files": "GRANT pg_read_server_files TO app_rw",
        "a login that owns a table": "ALTER TABLE app.project OWNER TO app_rw",
        "a login with default privileges": (
            "ALTER DEFAULT PRIVILEGES FOR ROLE app_rw GRANT SELECT ON TABLES TO PUBLIC"
        ),
    },
    rights.the_house_owns_the_schema: {
        "a table of a stranger's": "CREATE ROLE stranger; ALTER TABLE app.project OWNER TO stranger",
        "a table of whoever migrated": "ALTER TABLE app.project OWNER TO app_migrator",
        "a schema of a stranger's": "CREATE ROLE stranger; ALTER SCHEMA app OWNER TO stranger",
    },
    rights.owners_cannot_log_in: {
        "an owner who logs in": "ALTER ROLE app_owner LOGIN",
        "a login that cannot": "ALTER ROLE app_identity NOLOGIN",
    },
    rights.logins_reach_only_the_schema: {
        "a system function granted to a login": "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app_rw",
        "a system table granted to a login": "GRANT SELECT ON pg_authid TO app_platform",
        "a column of a system table granted to a login": "GRANT SELECT (rolpassword) ON pg_authid TO app_rw",
        "keys and triggers that a login switches off": "GRANT SET ON PARAMETER session_replication_role TO app_identity",
    },
    rights.logins_have_our_defaults: {
        "a login that set its own search_path": "ALTER ROLE app_rw SET search_path = public",
        "a login whose sessions are read-only": "ALTER ROLE app_rw SET default_transaction_read_only = on",
        "a login without its timeouts": "ALTER ROLE app_rw SET statement_timeout = 0",
        "a login whose timeouts were reset": "ALTER ROLE app_identity RESET lock_timeout",
        "a login that waits for clients who are gone": "ALTER ROLE app_rw SET client_connection_check_interval = 0",
        "a login with defaults in this database": (
            "DO $$ BEGIN EXECUTE format('ALTER ROLE app_rw IN DATABASE %I SET row_security = off',"
            " current_database()); END $$"
        ),
    },
    rights.nothing_can_be_created: {
        "temporary tables": (
            "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO app_rw', current_database()); END $$"
        ),
        "temporary tables for everybody": (
            "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$"
        ),
        "schemas made by a login": (
            "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO app_platform', current_database()); END $$"
        ),
        "objects made by a login": "GRANT CREATE ON SCHEMA app TO app_rw",
        "objects made by the door": "GRANT CREATE ON SCHEMA app TO app_door",
        "objects made by everybody in public": "GRANT CREATE ON SCHEMA public TO PUBLIC",
    },
    rights.no_other_schema_is_visible: {
        "the schema public": "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "another schema": "CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO app_identity",
    },
    rights.no_code_but_sql_is_written: {
        "code blocks": "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
        "code blocks of a login": "GRANT USAGE ON LANGUAGE plpgsql TO app_rw",
    },
    rights.nobody_locks_or_ends_what_is_not_theirs: {
        "locks that outlive a transaction": "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC",
        "locks of a transaction": "GRANT EXECUTE ON FUNCTION pg_try_advisory_xact_lock(integer, integer) TO app_rw",
        "the end of others' connections": "GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO app_rw",
        "the end of others' queries": "GRANT EXECUTE ON FUNCTION pg_cancel_backend(integer) TO PUBLIC",
    },
    rights.nothing_is_stored_outside_of_tables: {
        "large objects": "GRANT EXECUTE ON FUNCTION lo_from_bytea(oid, bytea) TO PUBLIC",
        "a foreign server": (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN"
            " SERVER s TO PUBLIC"
        ),
    },
    rights.nobody_else_becomes_one_of_us: {
        "a door for somebody else": "CREATE ROLE guest IN ROLE app_door",
        "a login of somebody's": "CREATE ROLE guest IN ROLE app_platform",
    },
    rights.logins_change_no_schema: {
        "a guard that only has the name of one": (
            "DROP EVENT TRIGGER logins_change_no_schema; CREATE FUNCTION public.refuse_logins() RETURNS event_trigger"
            " LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER logins_change_no_schema ON ddl_command_start"
            " EXECUTE FUNCTION public.refuse_logins(); ALTER EVENT TRIGGER logins_change_no_schema ENABLE ALWAYS"
        ),
        "no event trigger": "DROP EVENT TRIGGER logins_change_no_schema",
        "one that sleeps while rows are replicated": "ALTER EVENT TRIGGER logins_change_no_schema ENABLE",
    },
    rights.triggers_and_policies_are_in_force: {
        "no foreign keys": "SET LOCAL session_replication_role = replica",
        "an error for whoever meets a policy": "SET LOCAL row_security = off",
        "no foreign keys of one table": "ALTER TABLE app.team_member DISABLE TRIGGER ALL",
        "jobs of later that are due at once": "ALTER TABLE app.outbox DISABLE TRIGGER wait_until_due",
    },
    rights.no_order_spans_tenants: {
        "names in the order of all tenants": "CREATE INDEX i ON app.project (name)",
        "an expression in the order of all tenants": "CREATE INDEX i ON app.project (lower(name), tenant_id)",
        "a column that is unique everywhere": 'GRANT SELECT (email_norm) ON app."user" TO app_rw',
        "ids in the order of all tenants": "CREATE INDEX i ON app.membership (user_id, tenant_id)",
        "what is next to a place, of all tenants": (
            "ALTER TABLE app.project ADD place point; CREATE INDEX i ON app.project USING gist (place)"
        ),
        "what is next to a place, in a tree of another kind": (
            "ALTER TABLE app.project ADD place point; CREATE INDEX i ON app.project USING spgist (place)"
        ),
        "between which ids there are rows": "CREATE INDEX i ON app.project USING brin (id)",
        "between which ids there are rows, whoever comes first": (
            "CREATE INDEX i ON app.project USING brin (tenant_id, team_id)"
        ),
        "an order of a part of a table": (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE INDEX i ON %s (type)', inhrelid::regclass)"
            " FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
        "between which ids a part of a table has rows": (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE INDEX i ON %s USING brin (id)', inhrelid::regclass)"
            " FROM pg_inherits WHERE inhparent = 'app.event'::regclass LIMIT 1); END $$"
        ),
    },
    rights.row_security_is_asked_first: {
        "documents looked into before the policy": "ALTER TYPE jsonb SET (SUBSCRIPT = jsonb_subscript_handler)",
        "ids compared before the policy": "ALTER FUNCTION uuid_ge(uuid, uuid) COST 10",
        "texts compared before the policy": "ALTER FUNCTION text_ge(text, text) LEAKPROOF",
        "a cast that tells what it cannot cast": "ALTER FUNCTION int4div(integer, integer) LEAKPROOF",
    },
    rights.the_system_keeps_its_secrets: {
        "files for everybody": "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC",
        "password hashes for everybody": "GRANT SELECT ON pg_authid TO PUBLIC",
        "password hashes for everybody, by their column": "GRANT SELECT (rolpassword) ON pg_authid TO PUBLIC",
        "everybody's values for everybody": "GRANT SELECT (starelid, staattnum, stavalues1) ON pg_statistic TO PUBLIC",
        "keys and triggers that everybody switches off": "GRANT SET ON PARAMETER session_replication_role TO PUBLIC",
    },
    rights.the_program_runs_as_its_login: {
        "a program that runs as a superuser": "RESET SESSION AUTHORIZATION",
        "a program that runs as another login": "SET LOCAL SESSION AUTHORIZATION app_platform",
    },
}

BREAKAGES = [
    (sentence, rule, deed)
    for ways in (TABLES, PARTS, GRANTS, RIGHTS)
    for rule, deeds in ways.items()
    for sentence, deed in deeds.items()
]
