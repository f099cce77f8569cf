"""Reads on replicas, under a grant that the primary's door signs."""

from pathlib import Path

from alembic import op

from insula.core.rls import run_script

revision = "0014"
down_revision = "0013"

SQL = Path(__file__).parent.parent / "sql"
FUNCTIONS = ("enter_by_grant", "enter_for_replica", "grant_mac")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    run_script(op, SQL / "replicas.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
