"""A table in parts that breaks no rule: what people visited, each their own."""

_MINE = "user_id = (SELECT app.user_id()) AND (SELECT app.tenant_id()) IS NULL"
PEOPLES_VISITS = (
    (
        "SET LOCAL ROLE app_owner; CREATE TABLE app.visit (user_id uuid NOT NULL, id uuid NOT NULL, place bigint, PRIMARY KEY (user_id, id))"
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
