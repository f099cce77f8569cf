"""The house: signed context, people and their credentials, organizations and members, events, jobs, idempotency."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

from insula.core.rls import (
    bounded,
    create_tenant_table,
    protect_platform_table,
    protect_registry_table,
    protect_tenant_table,
    protect_user_table,
    run_script,
    tenant_key,
)

revision = "0001"
down_revision = None
branch_labels = ("insula",)

SQL = Path(__file__).parent.parent / "sql"
NOW = sa.text("now()")
# Each tenant has a lane, and each person for what they ask for outside of organizations; whatever belongs to none
# (letters of sign-up, schedules) shares one, so that no crowd of strangers can make the circle longer. It stands last:
# the circle starts behind the smallest uuid.
SHARED_LANE = "ffffffff-ffff-ffff-ffff-ffffffffffff"
NOBODY = "00000000-0000-0000-0000-000000000000"
"""What a malformed id becomes (core/ids.py)."""
# The first 48 bits of a UUIDv7 (RFC 9562, section 5.7): events are read in the order of their ids, and a moment of its
# own, such as when its transaction began, would contradict that order. Nor can SQL date an event other than its id.
MOMENT_OF_ID = "to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)"


# For rows whose reference goes away with what it referred to (core/rls.py). It may not fail, whatever version SQL that
# slipped in has written: what takes the reference away is not that tenant's alone.
COUNT_VERSION = """
CREATE FUNCTION app.count_version() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.version := OLD.version % 9223372036854775807 + 1;
    NEW.updated_at := now();
    RETURN NEW;
END $$
"""


def moment(name: str, *, required: bool = False, default: bool = False) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=not (required or default),
        server_default=NOW if default else None,
    )


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    run_script(op, SQL / "context.sql", role="app_door")
    op.execute("SET LOCAL ROLE app_door")
    op.execute(
        "GRANT EXECUTE ON FUNCTION app.tenant_id(), app.user_id() TO app_rw, app_owner, app_platform, app_identity"
    )
    op.execute(
        "GRANT EXECUTE ON FUNCTION app.prove_untouched(), app.end_session() TO app_rw, app_identity, app_platform"
    )
    op.execute("GRANT EXECUTE ON FUNCTION app.end_overdue(interval) TO app_platform")
    op.execute("SET LOCAL ROLE app_owner")
    op.execute(COUNT_VERSION)
    people()
    organizations()
    event()
    program()
    run_script(op, SQL / "enter.sql", role="app_door")
    run_script(op, SQL / "idempotency.sql", role="app_door")


def people() -> None:
    op.create_table(
        "user",
        *bounded(
            sa.Column("id", sa.Uuid, primary_key=True),
            sa.Column("email", sa.Text, nullable=False),
            sa.Column("email_norm", sa.Text, nullable=False, unique=True),
            sa.Column("name", sa.Text, nullable=False),
            moment("email_verified_at"),
            moment("disabled_at"),
            moment("created_at", default=True),
            moment("updated_at", default=True),
            sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
            sa.CheckConstraint("length(email) <= 320 AND length(name) BETWEEN 1 AND 200", name="user_lengths"),
            # A letter goes to the one and proves the other: they are the same address, whoever writes them.
            sa.CheckConstraint(
                'email_norm = lower(email COLLATE "C") AND octet_length(email) = length(email)', name="user_address"
            ),
        ),
        schema="app",
    )
    # Not email_norm: it has an order across everybody, in which who reads it could count.
    shown = "id, email, name, email_verified_at, disabled_at, created_at, updated_at, version"
    protect_user_table(op, "user", owner="id", grants=f"SELECT ({shown}), UPDATE (name, updated_at, version)")

    op.create_table(
        "password",
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("app.user.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("hash", sa.Text, nullable=False),
        moment("changed_at", default=True),
        schema="app",
    )
    protect_registry_table(op, "password")

    op.create_table(
        "credential",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("hash", pg.BYTEA, nullable=False, unique=True),
        sa.Column("tenant_id", sa.Uuid),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("app.user.id", ondelete="CASCADE")),
        sa.Column("subject_id", sa.Uuid, comment="what it opens, when that is not the user: an invitation"),
        sa.Column("scope", pg.ARRAY(sa.Text), comment="NULL: everything its user may do"),
        sa.Column("details", pg.JSONB, nullable=False, server_default="{}"),
        moment("created_at", default=True),
        moment("last_used_at", default=True),
        moment("expires_at", required=True),
        # As good as never: intervals learned infinity in PostgreSQL 17.
        sa.Column("idle_timeout", pg.INTERVAL, nullable=False, server_default="1000 years"),
        moment("revoked_at"),
        sa.Column("revoked_reason", sa.Text),
        sa.CheckConstraint("kind IN ('session', 'verification', 'reset', 'invitation')", name="credential_kind"),
        sa.CheckConstraint("length(hash) = 32", name="credential_hash"),
        schema="app",
    )
    op.create_index("credential_user", "credential", ["user_id", "kind", "id"], schema="app")
    op.create_index("credential_subject", "credential", ["subject_id"], schema="app")
    op.create_index("credential_expiry", "credential", ["expires_at"], schema="app")
    protect_registry_table(op, "credential")

    # No foreign key: its check would lock the person's row behind that of a session, where sign-in takes the person's
    # first.
    op.create_table(
        "account_event",
        *bounded(
            sa.Column("user_id", sa.Uuid, nullable=False),
            sa.Column("id", sa.Uuid, nullable=False),
            sa.Column("type", sa.Text, nullable=False),
            sa.Column("version", sa.SmallInteger, nullable=False),
            sa.Column("occurred_at", sa.DateTime(timezone=True), sa.Computed(MOMENT_OF_ID), nullable=False),
            moment("recorded_at", default=True),
            sa.Column("credential_id", sa.Text, comment="by which it was done"),
            sa.Column("target_type", sa.Text, nullable=False, comment="user | session"),
            sa.Column("target_id", sa.Text),
            sa.Column("data", pg.JSONB, nullable=False, comment="the typed payload, with before and after"),
            sa.Column("context", pg.JSONB, nullable=False, comment="ip, user_agent, request_id, trace_id"),
            sa.PrimaryKeyConstraint("user_id", "id"),
        ),
        schema="app",
    )
    op.execute("CREATE INDEX account_event_type ON app.account_event (user_id, type app.text_key_ops, id)")
    # In the order of everybody's lines, for the purge; hence nobody reads that column.
    op.create_index("account_event_age", "account_event", ["recorded_at"], schema="app")
    told = "user_id, id, type, version, occurred_at, credential_id, target_type, target_id, data, context"
    protect_user_table(op, "account_event", owner="user_id", grants=f"SELECT ({told})")
    op.execute("REVOKE UPDATE ON app.account_event FROM app_door")


def organizations() -> None:
    create_tenant_table(
        op,
        "organization",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("metadata", pg.JSONB, nullable=False, server_default="{}"),
        sa.Column("limits", pg.JSONB, comment="NULL: the defaults of the settings"),
        moment("suspended_at"),
        moment("deleted_at"),
        moment("created_at", default=True),
        moment("updated_at", default=True),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
        sa.CheckConstraint("id = tenant_id", name="organization_is_its_tenant"),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name="organization_name"),
        # What a malformed id becomes must be nobody's, nor may the shared lane be an organization's.
        sa.CheckConstraint(f"id NOT IN ('{NOBODY}', '{SHARED_LANE}')", name="organization_id"),
        updatable=("name", "metadata", "deleted_at", "updated_at", "version"),
    )
    op.execute("REVOKE INSERT ON app.organization FROM app_rw")

    op.create_table(
        "organization_slug",
        sa.Column("slug", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Uuid, nullable=False, unique=True),
        sa.CheckConstraint("slug ~ '^[a-z0-9](-?[a-z0-9]){1,62}$'", name="organization_slug_form"),
        schema="app",
    )
    protect_registry_table(op, "organization_slug")

    create_tenant_table(
        op,
        "membership",
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        sa.Column("name", sa.Text, nullable=False, comment="the profile the organization sees"),
        sa.Column("name_norm", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False, info={"bytes": 320}),
        sa.Column("email_norm", sa.Text, nullable=False, info={"bytes": 320}),
        moment("created_at", default=True),
        moment("updated_at", default=True),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "user_id", name="membership_user"),
        sa.CheckConstraint("status IN ('active', 'suspended')", name="membership_status"),
        sa.CheckConstraint("role IN ('owner', 'admin', 'member', 'billing', 'viewer')", name="membership_roles"),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name="membership_name_length"),
        sa.CheckConstraint(f"id <> '{NOBODY}'", name="membership_id"),  # whoever joins brings it along
        updatable=("role", "status", "name", "name_norm", "updated_at", "version"),
        deletable=True,
    )
    op.execute("REVOKE INSERT ON app.membership FROM app_rw")  # only doors let somebody in
    op.execute('ALTER TABLE app.membership ADD FOREIGN KEY (user_id) REFERENCES app."user" (id) ON DELETE CASCADE')
    # In no order: whoever walks one across organizations finds out whose ids stand in it.
    op.execute("CREATE INDEX membership_of_user ON app.membership USING hash (user_id)")
    op.execute('CREATE INDEX membership_name ON app.membership (tenant_id, name_norm COLLATE "C" app.text_key_ops, id)')
    op.execute(
        'CREATE INDEX membership_email ON app.membership (tenant_id, email_norm COLLATE "C" app.text_key_ops, id)'
    )
    # With the id behind it, whom a list is asked for is found in its order.
    op.create_index("membership_person", "membership", ["tenant_id", "user_id", "id"], schema="app")
    op.execute("CREATE INDEX membership_role ON app.membership (tenant_id, role app.text_key_ops, id)")
    op.execute("CREATE INDEX membership_status ON app.membership (tenant_id, status app.text_key_ops, id)")


def event() -> None:
    op.create_table(
        "event",
        *bounded(
            *tenant_key(),
            sa.Column("type", sa.Text, nullable=False),
            sa.Column("version", sa.SmallInteger, nullable=False),
            sa.Column("occurred_at", sa.DateTime(timezone=True), sa.Computed(MOMENT_OF_ID), nullable=False),
            sa.Column("actor_type", sa.Text, nullable=False, comment="user | job | system"),
            sa.Column("actor_id", sa.Text),
            sa.Column("credential_id", sa.Text),
            sa.Column("target_type", sa.Text, nullable=False),
            sa.Column("target_id", sa.Text),
            sa.Column("data", pg.JSONB, nullable=False, comment="the typed payload, with before and after"),
            sa.Column("personal", pg.JSONB, comment="the part of the payload that names people; it can be erased"),
            sa.Column("context", pg.JSONB, nullable=False, comment="ip, user_agent, request_id, trace_id"),
        ),
        schema="app",
        postgresql_partition_by="RANGE (id)",
    )
    protect_tenant_table(op, "event")
    op.execute("REVOKE UPDATE ON app.event FROM app_door")
    for column in ("type", "actor_id", "target_id"):
        op.execute(f"CREATE INDEX event_{column} ON app.event (tenant_id, {column} app.text_key_ops, id)")
    run_script(op, SQL / "event_order.sql")
    run_script(op, SQL / "event_partitions.sql")
    op.execute("SELECT app.create_event_partitions(now(), 3)")
    op.execute("GRANT EXECUTE ON FUNCTION app.create_event_partitions(timestamptz, integer) TO app_platform")
    op.execute("GRANT EXECUTE ON FUNCTION app.drop_event_partitions(interval) TO app_platform")


def program() -> None:
    op.create_table(
        "idempotency",
        *bounded(
            sa.Column("user_id", sa.Uuid, server_default=sa.text("app.user_id()"), nullable=False),
            sa.Column("key_hash", pg.BYTEA, nullable=False, comment="of the key, the credential and the organization"),
            sa.Column("fingerprint", pg.BYTEA, nullable=False, comment="of the request's method, path and body"),
            sa.Column(
                "answer",
                pg.BYTEA,
                nullable=False,
                comment="encrypted under a key only the client can derive",
                info={"bytes": 4 * 1024 * 1024},
            ),
        ),
        moment("created_at", default=True),
        sa.PrimaryKeyConstraint("user_id", "key_hash"),
        schema="app",
    )
    written = "user_id, key_hash, fingerprint, answer"
    protect_user_table(op, "idempotency", owner="user_id", grants=f"INSERT ({written})", everywhere=True)
    op.create_index("idempotency_age", "idempotency", ["created_at"], schema="app")

    op.create_table(
        "outbox",
        *bounded(  # what requests write
            sa.Column("id", sa.Uuid, primary_key=True),
            sa.Column("tenant_id", sa.Uuid, server_default=sa.text("app.tenant_id()")),
            sa.Column("user_id", sa.Uuid, server_default=sa.text("app.user_id()")),
            sa.Column("lane", sa.Uuid, nullable=False, server_default=SHARED_LANE, comment="whose turn it is"),
            sa.Column(
                "queue", sa.Text(collation="C"), nullable=False, server_default="default", comment="whose workers"
            ),
            sa.Column("task", sa.Text, nullable=False),
            sa.Column("payload", pg.JSONB, nullable=False),
            moment("due_at", default=True),
            sa.Column("trace", sa.Text, comment="W3C traceparent of the request that asked for it"),
        ),
        sa.Column("status", sa.Text, nullable=False, server_default="due"),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0", comment="the fencing token"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0", comment="the handler raised"),
        sa.Column("crashes", sa.Integer, nullable=False, server_default="0", comment="the lease ran out"),
        sa.Column("lease_hash", pg.BYTEA),
        moment("leased_until"),
        sa.Column("last_error", sa.Text),
        moment("created_at", default=True),
        moment("finished_at"),
        sa.CheckConstraint("status IN ('due', 'leased', 'done', 'dead', 'discarded')", name="outbox_status"),
        sa.CheckConstraint("queue ~ '^[a-z][a-z0-9_]{0,30}$'", name="outbox_queue"),
        schema="app",
    )
    protect_platform_table(op, "outbox")
    op.execute(
        "CREATE POLICY enqueue ON app.outbox FOR INSERT TO app_rw WITH CHECK ("
        "tenant_id IS NOT DISTINCT FROM (SELECT app.tenant_id())"
        " AND user_id IS NOT DISTINCT FROM (SELECT app.user_id())"
        # Without a context nothing is asked for: the program's own jobs come from app_platform. What a request asks for
        # waits in its organization's lane or its person's, and comes after what waits there already.
        " AND lane = coalesce(tenant_id, user_id) AND due_at >= transaction_timestamp())"
    )
    op.execute(
        "GRANT INSERT (id, queue, task, payload, due_at, trace, tenant_id, user_id, lane) ON app.outbox TO app_rw"
    )
    op.execute("CREATE INDEX outbox_leased ON app.outbox (leased_until) WHERE status = 'leased'")
    op.execute("CREATE INDEX outbox_dead ON app.outbox (id) WHERE status = 'dead'")
    op.execute("CREATE INDEX outbox_finished ON app.outbox (finished_at) WHERE status IN ('done', 'discarded')")

    op.create_table(
        "tick",
        sa.Column("schedule", sa.Text, nullable=False),
        moment("at", required=True),
        sa.PrimaryKeyConstraint("schedule", "at"),
        schema="app",
    )
    protect_platform_table(op, "tick")

    op.create_table(
        "operator",
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("app.user.id", ondelete="CASCADE"), primary_key=True),
        moment("created_at", default=True),
        schema="app",
    )
    protect_platform_table(op, "operator", grants="SELECT")

    op.create_table(
        "operator_action",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, comment="null where the command line did it"),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("context", pg.JSONB, nullable=False),
        moment("occurred_at", default=True),
        schema="app",
    )
    protect_platform_table(op, "operator_action", grants="SELECT, INSERT")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in (
        "purge_idempotency",
        "enter_once",
        "record_kept_out",
        "enter",
        "delete_membership",
    ):
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
    for function in (
        "count_version",
        "drop_event_partitions",
        "create_event_partitions",
        "next_event_ids",
        "ids_of_now",
        "follow_latest_event",
        "moved_behind",
        "later_id",
        "milliseconds_of",
    ):
        op.execute(f"DROP FUNCTION app.{function}")
    for table in ("operator_action", "operator", "tick", "outbox", "idempotency", "event"):
        op.execute(f"DROP TABLE app.{table}")
    for table in (
        "membership",
        "organization_slug",
        "organization",
        "account_event",
        "credential",
        "password",
        '"user"',
    ):
        op.execute(f"DROP TABLE app.{table}")
    op.execute("SET LOCAL ROLE app_door")
    for function in (
        "end_overdue",
        "end_session",
        "prove_untouched",
        "user_id",
        "tenant_id",
        "clear_context",
        "set_context",
        "context_mac",
    ):
        op.execute(f"DROP FUNCTION app.{function}")
    for function in ("signed_before_rotation", "rotate_door_key", "forget_previous_door_key", "new_door_key"):
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("DROP TABLE app.door_key")
    op.execute("SET LOCAL ROLE app_owner")
