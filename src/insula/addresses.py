"""What is wrong with the address of a server: empty for a good one, else for whoever sets the variable."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

_NOT_POSTGRES: Final = "not a postgresql:// address, or one whose password is not %-encoded"
_NOT_ORIGIN: Final = "an origin such as https://app.example.com is needed"
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
_OF_REDIS: Final = (
    *("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_keyfile_password"),
    *("ssl_cert_reqs", "ssl_check_hostname", "client_name", "socket_keepalive", "health_check_interval"),
)
"""Likewise, of redis-py: what it does not know fails when the first connection is made, and not at the start."""
_HOST: Final = re.compile(r"(?!-)[a-z0-9.-]+|\[[0-9a-f:.]+\]")
_USUAL_PORTS: Final = {"http": 80, "https": 443}


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


def wrong_redis(address: str) -> str:
    """Of redis://, rediss:// and unix:// addresses."""
    url = _split(address)
    if url is None or url.scheme not in {"redis", "rediss", "unix"} or "@" in url.path:
        return "not a redis:// address, or one whose password is not %-encoded"
    if url.scheme != "unix" and not url.hostname:
        return "an address such as redis://cache.example.com:6379/0 is needed"
    if url.scheme != "unix" and not re.fullmatch(r"(/\d{0,4})?", url.path):
        return f"{url.path} is no number of a database"
    known = (*_OF_REDIS, "db") if url.scheme == "unix" else _OF_REDIS
    strange = [name for name, _ in parse_qsl(url.query, keep_blank_values=True) if name not in known]
    return f"{strange[0]}= is no parameter of a connection here; {', '.join(known)} are there" if strange else ""


def wrong_origin(address: str) -> str:
    """Of the origin at which browsers see the API: as they write it (RFC 6454, section 6.2), for they are compared."""
    url = _split(address)
    if url is None or url.scheme not in _USUAL_PORTS or not url.netloc or url.path.strip("/") or url.query:
        return _NOT_ORIGIN
    host = url.netloc.removesuffix(f":{url.port}")
    written = host.lower() if url.port in {None, _USUAL_PORTS[url.scheme]} else f"{host.lower()}:{url.port}"
    if not _HOST.fullmatch(host.lower()) or "#" in address:
        return _NOT_ORIGIN
    if address.rstrip("/") != f"{url.scheme}://{written}":
        return f"browsers write it as {url.scheme}://{written}"
    return ""


def wrong_collector(address: str) -> str:
    """Of whom spans are sent to."""
    url = _split(address)
    good = url is not None and url.scheme in _USUAL_PORTS and url.hostname
    return "" if good else "an address such as http://collector:4318/v1/traces is needed"


def _split(address: str) -> SplitResult | None:
    """Its parts, if it has any: brackets must close, a port is a number, and what others read otherwise is in none."""
    if re.search(r"[\\\s\x00-\x1f]", address):
        return None
    try:
        url = urlsplit(address)
        _ = url.port
    except ValueError:
        return None
    return url
