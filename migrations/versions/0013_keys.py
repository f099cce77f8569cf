"""The program's keys in versions, wrapped by a master key that the database never sees."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from insula.core.rls import bounded, protect_platform_table, run_script

revision = "0013"
down_revision = "0012"

SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.create_table(
        "key",
        *bounded(
            sa.Column("purpose", sa.Text, nullable=False),
            sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
            sa.Column("master", sa.Text, nullable=False, comment="which master key wrapped it"),
            sa.Column("wrapped", sa.LargeBinary, nullable=False),
            sa.PrimaryKeyConstraint("purpose", "active_from"),
            sa.CheckConstraint("purpose IN ('credential', 'mailed_token', 'cursor', 'pseudonym')", name="key_purpose"),
        ),
        schema="app",
    )
    protect_platform_table(op, "key", grants="SELECT")
    run_script(op, SQL / "keys.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    op.execute("DROP FUNCTION app.add_first_key")
    op.execute("DROP FUNCTION app.forget_keys")
    op.execute("SET LOCAL ROLE app_owner")
    op.drop_table("key", schema="app")
