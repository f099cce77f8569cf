"""Teams of members."""

import sqlalchemy as sa
from alembic import op

from insula.core.rls import create_tenant_table, tenant_reference

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    create_tenant_table(
        op,
        "team",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_norm", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name="team_name_length"),
        sa.CheckConstraint("length(description) <= 1000", name="team_description_length"),
        updatable=("name", "name_norm", "description", "updated_at", "deleted_at", "version"),
    )
    # A deleted team's name is free again; restoring it then is a conflict.
    op.execute("CREATE UNIQUE INDEX team_name ON app.team (tenant_id, name_norm) WHERE deleted_at IS NULL")
    op.execute("CREATE INDEX team_deleted ON app.team (tenant_id, id) WHERE deleted_at IS NOT NULL")
    op.execute("CREATE INDEX team_purge ON app.team USING brin (deleted_at) WHERE deleted_at IS NOT NULL")
    op.execute('CREATE INDEX team_name_order ON app.team (tenant_id, name_norm COLLATE "C" app.text_key_ops, id)')
    create_tenant_table(
        op,
        "team_member",
        sa.Column("team_id", sa.Uuid, nullable=False),
        sa.Column("member_id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("tenant_id", "team_id", "member_id", name="team_member_once"),
        tenant_reference("team_id", "team"),
        tenant_reference("member_id", "membership"),
        deletable=True,
    )
    op.execute(
        "CREATE INDEX team_member_in ON app.team_member (tenant_id, team_id, created_at app.moment_key_ops, member_id)"
    )
    op.create_index("team_member_of", "team_member", ["tenant_id", "member_id", "team_id"], schema="app")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    op.execute("DROP FUNCTION app.delete_team_member")
    op.execute("SET LOCAL ROLE app_owner")
    op.drop_table("team_member", schema="app")
    op.drop_table("team", schema="app")
