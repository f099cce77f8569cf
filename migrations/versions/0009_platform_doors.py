"""The operators' door."""

from pathlib import Path

from alembic import op

from insula.core.rls import run_script

revision = "0009"
down_revision = "0008"

SQL = Path(__file__).parent.parent / "sql"
FUNCTIONS = ("keep_operators_answer", "enter_platform_once", "enter_platform")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    run_script(op, SQL / "platform.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
