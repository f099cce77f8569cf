"""The end of what was soft-deleted."""

from pathlib import Path

from alembic import op

from insula.core.rls import run_script

revision = "0010"
down_revision = "0009"

SQL = Path(__file__).parent.parent / "sql"
FUNCTIONS = ("purge_deleted", "purge_deleted_of", "soft_deleted_tables", "record_purged")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    run_script(op, SQL / "purge.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
