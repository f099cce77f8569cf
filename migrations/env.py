"""Alembic's entry: runs migrations as app_owner, each in a transaction, over a direct connection of the caller's."""

from collections.abc import Iterable
from typing import Any

from alembic import context
from sqlalchemy import text

from insula.schema import VERSION_TABLE, state_of


def run_migrations() -> None:
    connection: Any = context.config.attributes["connection"]
    connection.execute(text("SET ROLE app_owner"))
    connection.commit()
    context.configure(
        connection=connection,
        **VERSION_TABLE,
        # A lock is held until the end of its revision, and not until the end of all of them.
        transaction_per_migration=True,
        on_version_apply=[say_where_we_are],
    )
    with context.begin_transaction():
        context.run_migrations()
    say_where_we_are(context.get_context(), context.get_context().get_current_heads())
    connection.commit()


def say_where_we_are(ctx: Any, heads: Iterable[str], **_: Any) -> None:
    """Every login can read it there, and the program compares it with the newest revisions that it knows."""
    applied = [script.revision for script in context.script.iterate_revisions(tuple(heads), "base")]
    ctx.connection.execute(text("SELECT set_config('migration.state', :state, true)"), {"state": state_of(applied)})
    ctx.connection.execute(
        text("DO $$ BEGIN EXECUTE format('COMMENT ON SCHEMA app IS %L', current_setting('migration.state')); END $$")
    )


run_migrations()
