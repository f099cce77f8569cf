"""Settings that are well-formed and still must not run."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

PREFIX: Final = "INSULA_"
LOGINS: Final = {
    "database_url": "app_rw",
    "replica_database_url": "app_rw",
    "identity_database_url": "app_identity",
    "platform_database_url": "app_platform",
}
"""Who signs in where."""
NOT_POSTGRES: Final = "not a postgresql:// address, or one whose password is not %-encoded"
_SECRET_BYTES: Final = 32


def unsafe(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with these, each with its variable's name; what is missing or has no value is passed over."""
    given = {name: value for name, value in values.items() if value is not None}
    yield from _weak_secrets(given)
    yield from _wrong_databases(given)
    yield from _wrong_addresses(given)
    if given.get("session_idle_hours", 0) > given.get("session_max_hours", float("inf")):
        yield "INSULA_SESSION_IDLE_HOURS: no longer than INSULA_SESSION_MAX_HOURS, which ends every session"
    if given.get("environment") == "production":
        if "base_url" in given and urlsplit(given["base_url"]).scheme != "https":
            yield "INSULA_BASE_URL: must be https"
        if given.get("smtp_tls") == "none":
            yield "INSULA_SMTP_TLS: mail would travel unencrypted; use starttls or tls"


def is_postgres(address: str) -> bool:
    """Whether it is a PostgreSQL address of which every part is where it seems to be.

    A password with ``/``, ``?``, ``#`` or ``[`` in it, not written as ``%2F``, would be taken for a host or a database,
    and told to whoever reads that there is no such one.
    """
    try:
        url = urlsplit(address)
        _ = url.port  # raises for what is none
        return url.scheme == "postgresql" and bool(url.hostname) and "@" not in url.path
    except ValueError:
        return False


def _weak_secrets(given: Mapping[str, Any]) -> Iterator[str]:
    for name in given.keys() & {"secret_key", "secret_key_previous"}:
        variable = f"{PREFIX}{name.upper()}"
        try:
            if len(b64decode(given[name], validate=True)) < _SECRET_BYTES:
                yield f"{variable}: at least {_SECRET_BYTES} bytes in base64 are needed"
        except ValueError:
            yield f"{variable}: not base64"


def _wrong_databases(given: Mapping[str, Any]) -> Iterator[str]:
    for name, login in LOGINS.items():
        if name not in given:
            continue
        if not is_postgres(given[name]):
            yield f"{PREFIX}{name.upper()}: {NOT_POSTGRES}"
            continue
        url = urlsplit(given[name])
        if url.username != login:
            # Each login is proven to have the rights of its purpose and no others; another one is not.
            yield f"{PREFIX}{name.upper()}: must sign in as {login}, not as {url.username}"
        elif "ssl" in parse_qs(url.query):
            yield f"{PREFIX}{name.upper()}: sslmode= says how it is encrypted, not ssl="


def _wrong_addresses(given: Mapping[str, Any]) -> Iterator[str]:
    if "base_url" in given:
        base = urlsplit(given["base_url"])
        if base.scheme not in {"http", "https"} or not base.hostname or base.path.strip("/"):
            yield "INSULA_BASE_URL: an origin such as https://app.example.com is needed"
    for name in ("redis_url", "jobs_redis_url"):
        if given.get(name) is not None and urlsplit(given[name]).scheme not in {"redis", "rediss", "unix"}:
            yield f"{PREFIX}{name.upper()}: not a redis:// address"
    if "traces_url" in given:
        traces = urlsplit(given["traces_url"])
        if traces.scheme not in {"http", "https"} or not traces.hostname:
            yield "INSULA_TRACES_URL: an address such as http://collector:4318/v1/traces is needed"
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
