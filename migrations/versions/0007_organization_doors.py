"""The doors that make, name, list and purge organizations; how long a deleted one can be restored."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from insula.core.rls import bound_of, run_script

revision = "0007"
down_revision = "0006"

SQL = Path(__file__).parent.parent / "sql"
FUNCTIONS = (
    "purge_organizations",
    "purge_organization",
    "purge_each",
    "my_organizations",
    "claim_slug",
    "create_organization",
    "type_id",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    restorable_until = sa.Column("restorable_until", sa.DateTime(timezone=True))
    op.add_column("organization", restorable_until, schema="app")
    op.execute(f"ALTER TABLE app.organization ADD CHECK ({bound_of(restorable_until)})")
    op.execute("GRANT UPDATE (restorable_until) ON app.organization TO app_rw")
    op.execute(
        "CREATE INDEX organization_purge ON app.organization USING brin (restorable_until)"
        " WHERE restorable_until IS NOT NULL"
    )
    # The purge looks for an organization's rows in every table.
    op.execute("CREATE INDEX credential_tenant ON app.credential (tenant_id) WHERE tenant_id IS NOT NULL")
    run_script(op, SQL / "organizations.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
    op.execute("DROP INDEX app.credential_tenant")
    op.drop_column("organization", "restorable_until", schema="app")
