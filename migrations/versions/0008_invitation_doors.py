"""The doors of an invitation: its secret, and what its holder may do."""

from pathlib import Path

from alembic import op

from insula.core.rls import run_script

revision = "0008"
down_revision = "0007"

SQL = Path(__file__).parent.parent / "sql"
FUNCTIONS = (
    "decline_invitation",
    "join_by_invitation",
    "preview_invitation",
    "my_invitations",
    "accept_invitation",
    "disarm_invitations",
    "arm_invitations",
    "own_session",
    "end_declined",
    "admit_invited",
    "known_facts",
    "close_invitation",
    "take_invitation_for",
    "take_invitation_of",
    "take_invitation",
    "invitation_verdict",
    "may_grant",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    run_script(op, SQL / "invitations.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
