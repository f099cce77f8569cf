"""Jobs: their doors, whose turn it is, and what keeps a flood of one tenant away from the others."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from insula.core.rls import bounded, protect_platform_table, run_script

revision = "0002"
down_revision = "0001"

SQL = Path(__file__).parent.parent / "sql"
STATUSES = "'due', 'leased', 'done', 'dead', 'discarded'"

# `due` means due now: an index cannot ask what time it is, and a claim must not wade through jobs of next week.
WAIT = """
CREATE FUNCTION app.wait_until_due() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.status := 'waiting';
    RETURN NEW;
END $$
"""

FUNCTIONS = (
    "start_job",
    "enter_job",
    "finish_job",
    "fail_job",
    "release_job",
    "claim_jobs",
    "return_claims",
    "sweep_jobs",
    "longest_wait",
    "other_queues",
    "purge_credentials",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.add_column("outbox", sa.Column("started_at", sa.DateTime(timezone=True)), schema="app")
    allow(f"{STATUSES}, 'waiting'")
    op.execute(WAIT)
    op.execute(
        "CREATE TRIGGER wait_until_due BEFORE INSERT ON app.outbox FOR EACH ROW"
        " WHEN (NEW.due_at > now()) EXECUTE FUNCTION app.wait_until_due()"
    )
    op.execute("CREATE INDEX outbox_turn ON app.outbox (queue, lane, due_at, id) WHERE status = 'due'")
    op.execute("CREATE INDEX outbox_waiting ON app.outbox (due_at) WHERE status = 'waiting'")
    op.execute("CREATE INDEX outbox_waiting_lane ON app.outbox (lane, due_at) WHERE status = 'waiting'")
    op.execute("CREATE INDEX credential_revoked ON app.credential (revoked_at) WHERE revoked_at IS NOT NULL")
    # Every job dies four times as a row version; the default would let a fifth of the table do so first.
    op.execute(
        "ALTER TABLE app.outbox SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000,"
        " autovacuum_vacuum_cost_delay = 0)"
    )
    # A row for each queue that was ever served: whoever claims its jobs locks it, and requests cannot.
    op.create_table("claiming", *bounded(sa.Column("queue", sa.Text(collation="C"), primary_key=True)), schema="app")
    protect_platform_table(op, "claiming", grants="SELECT")
    run_script(op, str(SQL / "jobs.sql"), role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
    op.drop_table("claiming", schema="app")
    op.execute(
        "ALTER TABLE app.outbox RESET"
        " (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay)"
    )
    op.execute("DROP INDEX app.credential_revoked")
    op.execute("DROP TRIGGER wait_until_due ON app.outbox")
    op.execute("DROP FUNCTION app.wait_until_due")
    op.execute("UPDATE app.outbox SET status = 'due' WHERE status = 'waiting'")
    allow(STATUSES)
    op.execute("DROP INDEX app.outbox_turn")
    op.drop_column("outbox", "started_at", schema="app")
    op.execute("DROP INDEX app.outbox_waiting")
    op.execute("DROP INDEX app.outbox_waiting_lane")


def allow(statuses: str) -> None:
    op.execute("ALTER TABLE app.outbox DROP CONSTRAINT outbox_status")
    op.execute(f"ALTER TABLE app.outbox ADD CONSTRAINT outbox_status CHECK (status IN ({statuses}))")
