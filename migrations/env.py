"""Alembic's entry: runs migrations as app_owner over a direct connection that the caller opened."""

from typing import Any

from alembic import context
from sqlalchemy import text

from insula.schema import state_of


def run_migrations() -> None:
    connection: Any = context.config.attributes["connection"]
    # Transaction-scoped and on one key: two releases that migrate at once wait for each other.
    connection.execute(text("SELECT pg_advisory_xact_lock(7301190416)"))
    connection.execute(text("SET LOCAL ROLE app_owner"))
    context.configure(connection=connection, version_table_schema="migration", version_table="version")
    with context.begin_transaction():
        context.run_migrations()
    # Every login can read it there, and the program compares it with the newest revisions that it knows.
    heads = context.get_context().get_current_heads()
    applied = [script.revision for script in context.script.iterate_revisions(heads, "base")]
    connection.execute(text("SELECT set_config('migration.state', :state, true)"), {"state": state_of(applied)})
    connection.execute(
        text("DO $$ BEGIN EXECUTE format('COMMENT ON SCHEMA app IS %L', current_setting('migration.state')); END $$")
    )


run_migrations()
