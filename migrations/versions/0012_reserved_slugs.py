"""Names that no organization can have: taken by nobody, so that no SQL of a request can take them either."""

from alembic import op

revision = "0012"
down_revision = "0011"

# fmt: off
RESERVED = (
    "about", "abuse", "account", "accounts", "admin", "administrator", "api", "app", "apps", "assets",
    "auth", "billing", "blog", "cdn", "console", "dashboard", "dev", "docs", "email", "ftp", "graphql",
    "health", "help", "hostmaster", "imap", "info", "insula", "legal", "login", "logout", "mail", "me",
    "metrics", "mx", "new", "no-reply", "noreply", "oauth", "operator", "organization", "organizations",
    "platform", "pop", "postmaster", "pricing", "privacy", "root", "saml", "scim", "security", "settings",
    "sign-in", "sign-up", "signin", "signup", "smtp", "sso", "staging", "static", "status", "support",
    "system", "terms", "test", "user", "users", "v1", "webhooks", "webmaster", "www",
)
# fmt: on


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    # Only doors read the column, and none of them meets a row without a tenant.
    op.execute(
        "-- squawk-ignore ban-drop-not-null\nALTER TABLE app.organization_slug ALTER COLUMN tenant_id DROP NOT NULL"
    )
    op.execute("COMMENT ON COLUMN app.organization_slug.tenant_id IS 'null: reserved'")
    rows = ", ".join(f"('{slug}')" for slug in RESERVED)
    # An organization that has one already keeps it.
    op.execute(f"INSERT INTO app.organization_slug (slug) VALUES {rows} ON CONFLICT (slug) DO NOTHING")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1500ms'")
    op.execute("DELETE FROM app.organization_slug WHERE tenant_id IS NULL")
    op.execute("COMMENT ON COLUMN app.organization_slug.tenant_id IS NULL")
    op.execute("ALTER TABLE app.organization_slug ALTER COLUMN tenant_id SET NOT NULL")
