"""Settings that are well-formed and still must not run."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import Any, Final
from urllib.parse import urlsplit

from insula.addresses import wrong_collector, wrong_database, wrong_origin, wrong_redis
from insula.unencrypted import unencrypted

PREFIX: Final = "INSULA_"
LOGINS: Final = {
    "database_url": "app_rw",
    "replica_database_url": "app_rw",
    "identity_database_url": "app_identity",
    "platform_database_url": "app_platform",
}
"""Who signs in where."""
_ADDRESSES: Final = {
    "base_url": wrong_origin,
    "redis_url": wrong_redis,
    "jobs_redis_url": wrong_redis,
    "traces_url": wrong_collector,
}
_SECRET_BYTES: Final = 32
_DIFFERENT_BYTES: Final = 8
"""Random ones have twice as many, also in hexadecimal; fewer are a placeholder, or a file of zeros."""


def unsafe(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with these, each with its variable's name; what is missing or has no value is passed over."""
    given = {name: value for name, value in values.items() if value is not None}
    yield from _weak_secrets(given)
    wrong = [*_wrong_databases(given), *_wrong_addresses(given)]
    yield from wrong or unencrypted(given)
    if given.get("session_idle_hours", 0) > given.get("session_max_hours", float("inf")):
        yield "INSULA_SESSION_IDLE_HOURS: no longer than INSULA_SESSION_MAX_HOURS, which ends every session"
    if given.get("environment") == "production":
        if not given.get("base_url", "https:").startswith("https:"):
            yield "INSULA_BASE_URL: must be https"
        if given.get("smtp_tls") == "none":
            yield "INSULA_SMTP_TLS: mail would travel unencrypted; use starttls or tls"


def _weak_secrets(given: Mapping[str, Any]) -> Iterator[str]:
    for name in given.keys() & {"secret_key", "secret_key_previous"}:
        variable = f"{PREFIX}{name.upper()}"
        try:
            secret = b64decode(given[name], validate=True)
            if len(secret) < _SECRET_BYTES:
                yield f"{variable}: at least {_SECRET_BYTES} bytes in base64 are needed"
            elif name == "secret_key" and len(set(secret)) < _DIFFERENT_BYTES:  # the previous one is on its way out
                yield f"{variable}: these are no random bytes; `openssl rand -base64 {_SECRET_BYTES}` makes some"
        except ValueError:
            yield f"{variable}: not base64"


def _wrong_databases(given: Mapping[str, Any]) -> Iterator[str]:
    for name in (*LOGINS, "owner_database_url", "admin_database_url"):
        if name not in given:
            continue
        if wrong := wrong_database(given[name], by_socket=name == "admin_database_url"):
            yield f"{PREFIX}{name.upper()}: {wrong}"
        elif (user := urlsplit(given[name]).username) != LOGINS.get(name, user):
            # Each login is proven to have the rights of its purpose and no others; another one is not.
            yield f"{PREFIX}{name.upper()}: must sign in as {LOGINS[name]}, not as {user}"


def _wrong_addresses(given: Mapping[str, Any]) -> Iterator[str]:
    for name, wrong_with in _ADDRESSES.items():
        if name in given and (wrong := wrong_with(given[name])):
            yield f"{PREFIX}{name.upper()}: {wrong}"
    if "smtp_password" in given and "smtp_username" not in given:
        yield "INSULA_SMTP_USERNAME is needed: INSULA_SMTP_PASSWORD is set"
    if given.get("smtp_host") == "":
        yield "INSULA_SMTP_HOST: the name of a mail server is needed"
    if "mail_from" in given and not _is_mailbox(given["mail_from"]):
        yield "INSULA_MAIL_FROM: an address such as no-reply@example.com is needed"


def _is_mailbox(text: str) -> bool:
    try:
        address = Address(addr_spec=text)
    except (HeaderParseError, ValueError, IndexError):
        return False
    return bool(address.username and address.domain)
