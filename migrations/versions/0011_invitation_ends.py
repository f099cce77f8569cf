"""Declining an invitation in one's own list, and the end of those that are long over."""

from pathlib import Path

from alembic import op

from insula.core.rls import run_script

revision = "0011"
down_revision = "0010"

SQL = Path(__file__).parent.parent / "sql"
FUNCTIONS = ("purge_invitations", "purge_invitations_of", "decline_my_invitation")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    # By when they are purged.
    op.execute(
        "CREATE INDEX invitation_end ON app.invitation USING brin"
        " ((CASE WHEN status = 'pending' THEN expires_at ELSE updated_at END))"
    )
    run_script(op, SQL / "invitation_ends.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
    op.drop_index("invitation_end", "invitation", schema="app")
