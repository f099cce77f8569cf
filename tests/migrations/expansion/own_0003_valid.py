"""What was promised of new initials holds for all of them."""

import sqlalchemy as sa
from alembic import op

from insula.core.rls import bound_of

revision = "own_0003"
down_revision = "own_0002"
needed = False

INITIAL = sa.Column("initial", sa.Text, info={"bytes": 4})


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("ALTER TABLE app.project VALIDATE CONSTRAINT project_initial")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("ALTER TABLE app.project DROP CONSTRAINT project_initial")
    op.execute(f"ALTER TABLE app.project ADD CONSTRAINT project_initial CHECK ({bound_of(INITIAL)}) NOT VALID")
