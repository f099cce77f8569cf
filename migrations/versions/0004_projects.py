"""Projects, the worked example of a tenant-owned resource."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from insula.core.rls import create_tenant_table, tenant_reference

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    create_tenant_table(
        op,
        "project",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_norm", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("team_id", sa.Uuid),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("created_by", sa.Uuid),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("version", sa.BigInteger, nullable=False),
        tenant_reference("team_id", "team", ondelete="SET NULL (team_id)"),
        sa.CheckConstraint("status IN ('active', 'paused', 'archived')", name="project_status"),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name="project_name"),
        updatable=(
            "name",
            "name_norm",
            "key",
            "status",
            "team_id",
            "metadata",
            "updated_at",
            "deleted_at",
            "version",
        ),
    )
    # A deleted project's key is free again; restoring it then is a conflict.
    op.execute(
        "CREATE UNIQUE INDEX project_key ON app.project (tenant_id, key app.text_key_ops) WHERE deleted_at IS NULL"
    )
    op.execute('CREATE INDEX project_name_order ON app.project (tenant_id, name_norm COLLATE "C" app.text_key_ops, id)')
    op.execute("CREATE INDEX project_updated ON app.project (tenant_id, updated_at app.moment_key_ops, id)")
    op.execute("CREATE INDEX project_status_order ON app.project (tenant_id, status app.text_key_ops, id)")
    op.create_index("project_team", "project", ["tenant_id", "team_id", "id"], schema="app")
    op.execute("CREATE INDEX project_deleted ON app.project (tenant_id, id) WHERE deleted_at IS NOT NULL")
    op.execute("CREATE INDEX project_purge ON app.project USING brin (deleted_at) WHERE deleted_at IS NOT NULL")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.drop_table("project", schema="app")
