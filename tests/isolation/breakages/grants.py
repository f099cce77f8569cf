"""Every way to break what the catalogue check asks of grants."""

from insula.core.catalogue import grants

GRANT_BREAKAGES = {
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
