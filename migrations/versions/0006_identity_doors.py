"""The doors of sign-up, sign-in, sessions and reset, and of what a person's record says of these."""

from pathlib import Path

from alembic import op

from insula.core.rls import run_script

revision = "0006"
down_revision = "0005"

SQL = Path(__file__).parent.parent / "sql"
FUNCTIONS = (
    "purge_account_events",
    "record_mine",
    "purge_sign_ups",
    "revoke_my_sessions",
    "revoke_my_session",
    "my_sessions",
    "arm_credential",
    "change_password",
    "password_of_session",
    "reset_password",
    "reset_owner",
    "name_of",
    "ask_reset",
    "sign_out",
    "renew_hash",
    "sign_in",
    "sign_in_recipe",
    "verify_sign_up",
    "verification_recipe",
    "resend_verification",
    "sign_up",
    "open_session",
    "create_user",
    "end_session_of",
    "record_ended",
    "record_account",
    "next_account_event_ids",
    "set_password",
    "take_credential",
    "await_token",
    "keep_newest",
    "enqueue_for",
    "recipe_of",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute('CREATE INDEX user_unverified ON app."user" USING brin (created_at) WHERE email_verified_at IS NULL')
    run_script(op, SQL / "account_events.sql", role="app_door")
    run_script(op, SQL / "identity.sql", role="app_door")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("SET LOCAL ROLE app_door")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION app.{function}")
    op.execute("SET LOCAL ROLE app_owner")
    op.execute("DROP INDEX app.user_unverified")
