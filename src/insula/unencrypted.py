"""Connections between the parts that others on the network could read, or answer in the other's place."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from insula.core.certificate import CertificateUnusable, read_certificate

TRUSTED: Final = "the network between the parts is trusted, and connections in it may be unencrypted"
"""What INSULA_TRUSTED_NETWORK means, for the log."""
_TRUSTED: Final = "or INSULA_TRUSTED_NETWORK=true, where nobody else is on that network"
_DATABASES: Final = (
    *("database_url", "identity_database_url", "platform_database_url"),
    *("replica_database_url", "owner_database_url", "admin_database_url"),
)
_VERIFIED: Final = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
"""What an address of Redis may say about verifying, for it says the contrary otherwise."""


def unencrypted(given: Mapping[str, Any]) -> Iterator[str]:
    """Each setting that opens such a connection, and how it is closed; of well-formed settings, and in production."""
    yield from _certificate(given)
    if given.get("environment") != "production" or given.get("trusted_network"):
        return
    for name in _DATABASES:
        if name in given and not _verifies_postgres(given[name]):
            yield f"{_variable(name)}: must say sslmode=verify-full, {_TRUSTED}"
    for name in ("redis_url", "jobs_redis_url"):
        if name in given and not _verifies_redis(given[name]):
            yield f"{_variable(name)}: must be rediss:// and verify certificates, {_TRUSTED}"
    traces = urlsplit(given.get("traces_url", ""))
    if traces.scheme == "http" and not _is_here(traces.hostname or ""):
        yield f"INSULA_TRACES_URL: must be https, {_TRUSTED}"
    if "tls_certificate_file" not in given:
        yield from _served(given)


def _served(given: Mapping[str, Any]) -> Iterator[str]:
    for name in ("host", "metrics_host"):
        here = name not in given or (given[name] and _is_here(given[name]))  # none is everywhere
        if not here and _opens(name, given):
            yield f"{_variable(name)}: others connect there, so INSULA_TLS_CERTIFICATE_FILE is needed, {_TRUSTED}"


def _opens(name: str, given: Mapping[str, Any]) -> bool:
    return name != "metrics_host" or bool(given["metrics_port"])


def _certificate(given: Mapping[str, Any]) -> Iterator[str]:
    names = ("tls_certificate_file", "tls_key_file")
    missing = [_variable(name) for name in names if name not in given]
    if len(missing) == 1:
        yield f"{missing[0]} is needed: a certificate serves with its key alone"
    elif not missing:
        try:
            read_certificate(*(given[name] for name in names))
        except CertificateUnusable as error:
            yield f"INSULA_TLS_CERTIFICATE_FILE, INSULA_TLS_KEY_FILE: {error}"


def _verifies_postgres(address: str) -> bool:
    url = urlsplit(address)
    asked = dict(parse_qsl(url.query))
    hosts = [_host(each) for each in (url.netloc.rpartition("@")[2] or asked.get("host", "")).split(",")]
    return asked.get("sslmode") == "verify-full" or all(map(_is_here, hosts))


def _host(place: str) -> str:
    """Of one of several places, which each may have a port of its own."""
    return place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]


def _verifies_redis(address: str) -> bool:
    url = urlsplit(address)
    asked = dict(reversed(parse_qsl(url.query)))  # of what is said twice, the client takes the first
    if url.scheme == "unix" or _is_here(url.hostname or ""):
        return True
    return url.scheme == "rediss" and all(asked.get(name, value).lower() == value for name, value in _VERIFIED.items())


def _is_here(host: str) -> bool:
    """Whether it is this machine's own: a socket or the loopback address."""
    if host in {"", "localhost"} or host.lower().startswith(("/", "%2f")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _variable(name: str) -> str:
    return f"INSULA_{name.upper()}"
