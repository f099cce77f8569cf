"""Projects are found by their initials."""

from alembic import op

from insula.core.large_tables import create_index, drop_index

revision = "own_0004"
down_revision = "own_0003"
needed = False


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    create_index(op, "project_initial_order", "project", ["tenant_id", "initial", "id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    drop_index(op, "project_initial_order", "project")
