"""Which slugs there are to be had, and one for those who do not care."""

import re
import secrets
import unicodedata
from typing import Final

# fmt: off
RESERVED: Final = frozenset(
    {
        "about", "abuse", "account", "accounts", "admin", "administrator", "api", "app", "apps", "assets",
        "auth", "billing", "blog", "cdn", "console", "dashboard", "dev", "docs", "email", "ftp", "graphql",
        "health", "help", "hostmaster", "imap", "info", "insula", "legal", "login", "logout", "mail", "me",
        "metrics", "mx", "new", "no-reply", "noreply", "oauth", "operator", "organization", "organizations",
        "platform", "pop", "postmaster", "pricing", "privacy", "root", "saml", "scim", "security", "settings",
        "sign-in", "sign-up", "signin", "signup", "smtp", "sso", "staging", "static", "status", "support",
        "system", "terms", "test", "user", "users", "v1", "webhooks", "webmaster", "www",
    }
)
"""Names that our own pages, mailboxes and hosts have or may come to have. In the registry of
slugs they are taken by nobody, so that no SQL gets one; here they are known for a better answer."""
# fmt: on

_LONGEST: Final = 48
_SPARE: Final = 3


def candidates(name: str) -> list[str]:
    """Slugs for an organization of this name, the nicest first; the others are nobody's, as far as chance goes."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub("[^a-z0-9]+", "-", letters)[:_LONGEST].strip("-")
    nice = [slug] if len(slug) > 1 and slug not in RESERVED else []
    return nice + [f"{slug or 'organization'}-{secrets.token_hex(4)}" for _ in range(_SPARE)]
