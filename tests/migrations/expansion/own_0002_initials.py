"""The projects of before get their initials too."""

import sqlalchemy as sa
from alembic import op

from insula.core.large_tables import backfill

revision = "own_0002"
down_revision = "own_0001"
needed = False


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    initial, name = sa.column("initial"), sa.column("name")
    backfill(op, "project", {"initial": sa.func.left(name, 1)}, missing=initial.is_(None))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
