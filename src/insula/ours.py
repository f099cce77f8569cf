"""What is this machine's to say where `insula up` runs, and not the environment's."""

from typing import Final

from insula.unsafe import PREFIX

OURS: Final = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("ENVIRONMENT", "SECRET_KEY", "SECRET_KEY_PREVIOUS", "KMS_COMMAND"),
        *("HOST", "PORT", "BASE_URL", "METRICS_HOST", "METRICS_PORT"),
        *("TRUSTED_NETWORK", "TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"),
        *("DATABASE_URL", "IDENTITY_DATABASE_URL", "PLATFORM_DATABASE_URL", "REPLICA_DATABASE_URL"),
        *("OWNER_DATABASE_URL", "ADMIN_DATABASE_URL", "REDIS_URL", "JOBS_REDIS_URL", "PGBOUNCER"),
        *("SMTP_HOST", "SMTP_PORT", "SMTP_USERNAME", "SMTP_PASSWORD", "SMTP_TLS"),
    )
)
"""Where its own servers are, how they are reached, and what opens them."""


def is_ours(name: str) -> bool:
    """Whether `insula up` passes a variable over, also one that names a file."""
    return name in OURS or name.removesuffix("_FILE") in OURS
