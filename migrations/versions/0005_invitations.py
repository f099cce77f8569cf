"""Invitations into an organization."""

import sqlalchemy as sa
from alembic import op

from insula.core.rls import create_tenant_table

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    create_tenant_table(
        op,
        "invitation",
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_norm", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("invited_by", sa.Uuid, comment="the membership that invited; NULL once it is gone"),
        sa.Column("credential_id", sa.Uuid, nullable=False),
        sa.Column("sendings", sa.Integer, nullable=False, server_default="1"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.CheckConstraint(
            "status IN ('pending', 'accepted', 'declined', 'revoked', 'expired')", name="invitation_status"
        ),
        updatable=("role", "status", "invited_by", "credential_id", "sendings", "expires_at", "updated_at", "version"),
        deletable=False,
    )
    op.execute(
        "CREATE UNIQUE INDEX invitation_open ON app.invitation (tenant_id, email_norm) WHERE status = 'pending'"
    )
    op.create_index("invitation_status_order", "invitation", ["tenant_id", "status", "id"], schema="app")
    op.execute('CREATE INDEX invitation_email ON app.invitation (tenant_id, email_norm COLLATE "C", id)')


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.drop_table("invitation", schema="app")
