"""Invitations into an organization."""

import sqlalchemy as sa
from alembic import op

from insula.core.rls import create_tenant_table, tenant_reference

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    create_tenant_table(
        op,
        "invitation",
        sa.Column("email", sa.Text, nullable=False, info={"bytes": 320}),
        sa.Column("email_norm", sa.Text, nullable=False, info={"bytes": 320}),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, comment="as last written: a pending one may be over by now"),
        sa.Column("invited_by", sa.Uuid, comment="the member who answers for it; NULL once they are gone"),
        sa.Column("credential_id", sa.Uuid, nullable=False),
        sa.Column("sendings", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        tenant_reference("invited_by", "membership", ondelete="SET NULL (invited_by)"),
        sa.CheckConstraint(
            "status IN ('pending', 'accepted', 'declined', 'revoked', 'expired')", name="invitation_status"
        ),
        sa.CheckConstraint("role IN ('owner', 'admin', 'member', 'billing', 'viewer')", name="invitation_roles"),
        # The letter goes to the one, and lets the other in.
        sa.CheckConstraint(
            'email_norm = lower(email COLLATE "C") AND octet_length(email) = length(email)', name="invitation_address"
        ),
        updatable=("status", "invited_by", "sendings", "expires_at", "updated_at", "version"),
    )
    op.execute("CREATE UNIQUE INDEX invitation_open ON app.invitation (tenant_id, email_norm) WHERE status = 'pending'")
    op.execute("CREATE INDEX invitation_status_order ON app.invitation (tenant_id, status app.text_key_ops, id)")
    op.execute(
        'CREATE INDEX invitation_email ON app.invitation (tenant_id, email_norm COLLATE "C" app.text_key_ops, id)'
    )
    op.create_index("invitation_inviter", "invitation", ["tenant_id", "invited_by"], schema="app")
    # The holder of an address finds what is open for it, whichever organization it is from.
    # In no order: walked in one, an index of everybody's rows tells whoever has a row in it how many come before.
    op.execute("CREATE INDEX invitation_holder ON app.invitation USING hash (email_norm)")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.drop_table("invitation", schema="app")
