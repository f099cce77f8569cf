"""Settings that are well-formed and still must not run."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from insula.unencrypted import unencrypted

PREFIX: Final = "INSULA_"
LOGINS: Final = {
    "database_url": "app_rw",
    "replica_database_url": "app_rw",
    "identity_database_url": "app_identity",
    "platform_database_url": "app_platform",
}
"""Who signs in where."""
_NOT_POSTGRES: Final = "not a postgresql:// address, or one whose password is not %-encoded"
_TLS_VERSIONS: Final = ("TLSv1.2", "TLSv1.3")
_PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslrootcert": (),
    "sslcert": (),
    "sslkey": (),
    "sslpassword": (),
    "sslcrl": (),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
    "passfile": (),
}
"""What may stand behind the ``?`` of an address, with its values, where not any will do.

They are those by which asyncpg makes a connection. Whatever it does not know it has the server set for the session, and
what is set there is ours alone to say: row security hangs on it.
"""
_OF_SOCKETS: Final[dict[str, tuple[str, ...]]] = {"host": (), "port": ()}
"""Where no host stands before the path."""
_SECRET_BYTES: Final = 32


def unsafe(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with these, each with its variable's name; what is missing or has no value is passed over."""
    given = {name: value for name, value in values.items() if value is not None}
    yield from _weak_secrets(given)
    wrong = [*_wrong_databases(given), *_wrong_addresses(given)]
    yield from wrong or unencrypted(given)
    if given.get("session_idle_hours", 0) > given.get("session_max_hours", float("inf")):
        yield "INSULA_SESSION_IDLE_HOURS: no longer than INSULA_SESSION_MAX_HOURS, which ends every session"
    if given.get("environment") == "production":
        if "base_url" in given and urlsplit(given["base_url"]).scheme != "https":
            yield "INSULA_BASE_URL: must be https"
        if given.get("smtp_tls") == "none":
            yield "INSULA_SMTP_TLS: mail would travel unencrypted; use starttls or tls"


def wrong_database(address: str, *, by_socket: bool = False) -> str:
    """What is wrong with an address of PostgreSQL; empty for a good one, in which every part is where it seems to be.

    A password with ``/``, ``?``, ``#`` or ``[`` in it, not written as ``%2F``, would be taken for a host, a database or
    a parameter, and told to whoever reads that there is no such one.
    """
    try:
        url = urlsplit(address)
        _ = url.port  # raises for what is none
        parameters = parse_qsl(url.query, keep_blank_values=True)
    except ValueError:
        return _NOT_POSTGRES
    hosts = (url.hostname or "").split(",")
    if url.scheme != "postgresql" or not (all(hosts) or by_socket) or "@" in url.path + url.query:
        return _NOT_POSTGRES
    known = _PARAMETERS if url.hostname else _PARAMETERS | _OF_SOCKETS
    if url.query and "" in url.query.split("&"):
        return "an & has no parameter beside it"
    names = [name for name, _ in parameters]
    if repeated := next((name for name in names if names.count(name) > 1), ""):
        return f"{repeated}= is said twice"  # and which of them counts, not everybody thinks alike
    return next((wrong for name, value in parameters if (wrong := _wrong_parameter(name, value, known))), "")


def _wrong_parameter(name: str, value: str, known: Mapping[str, tuple[str, ...]]) -> str:
    if name not in known:
        return f"{name}= is no parameter of a connection here; {', '.join(known)} are there"
    if known[name] and value not in known[name]:
        return f"{name}={value}; {', '.join(known[name])} are there"
    return "" if value else f"{name}= has no value"


def _weak_secrets(given: Mapping[str, Any]) -> Iterator[str]:
    for name in given.keys() & {"secret_key", "secret_key_previous"}:
        variable = f"{PREFIX}{name.upper()}"
        try:
            if len(b64decode(given[name], validate=True)) < _SECRET_BYTES:
                yield f"{variable}: at least {_SECRET_BYTES} bytes in base64 are needed"
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
