"""Every way to break what the catalogue check asks of tables."""

from insula.core.catalogue import tables
from tests.isolation.breakages.visits import PEOPLES_VISITS

TABLE_BREAKAGES = {
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
