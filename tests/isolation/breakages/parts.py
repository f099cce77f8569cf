"""Every way to break what the catalogue check asks of parts of tables."""

from insula.core.catalogue import parts
from tests.isolation.breakages.visits import PEOPLES_VISITS

PART_BREAKAGES = {
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
            "ALTER TABLE app.project ADD part bigint GENERATED ALWAYS AS (hashtext(tenant_id::text)) STORED;"
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
            "ALTER TABLE app.project ADD part bigint GENERATED ALWAYS AS (hashtext(team_id::text)) STORED;"
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
