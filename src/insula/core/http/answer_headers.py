"""Headers of every answer, whoever made it: for browsers, for callers in a hurry, and of routes that will go."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any, Final

import msgspec
from litestar.types import Message, Scope

from insula.core.http.rate_limit import headers as rate_limit_headers

DEPRECATION: Final = "deprecation"
"""Handler option: a ``Deprecation``."""

_A_YEAR: Final = 31_536_000
_SECURITY: Final = {
    b"x-content-type-options": b"nosniff",
    # What default-src does not cover, and object-src, which some scanners ask for by name.
    b"content-security-policy": b"default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
"""OWASP's REST Security Cheat Sheet. Routes that answer with pages say what else they allow."""


class Deprecation(msgspec.Struct, frozen=True):
    """A route that will go: since when clients should leave it, and when it stops to answer."""

    since: date
    sunset: date

    def headers(self) -> dict[bytes, bytes]:
        """Deprecation (RFC 9745) and Sunset (RFC 8594)."""
        return {
            b"deprecation": f"@{int(_midnight(self.since).timestamp())}".encode(),
            b"sunset": format_datetime(_midnight(self.sunset), usegmt=True).encode(),
        }


def answer_headers(base_url: str) -> Callable[[Message, Scope], Awaitable[None]]:
    """A hook that adds the headers an answer does not have yet; it sees refusals that no route has seen as well."""
    https = {b"strict-transport-security": f"max-age={_A_YEAR}; includeSubDomains".encode()}
    security = _SECURITY | (https if base_url.startswith("https://") else {})

    async def add(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        present = list(message.get("headers", ()))
        names = {name for name, _ in present}
        message["headers"] = present + [(k, v) for k, v in _wanted(security, scope).items() if k not in names]

    return add


def _wanted(security: dict[bytes, bytes], scope: Any) -> dict[bytes, bytes]:
    handler = scope.get("route_handler")
    deprecation: Deprecation | None = handler.opt.get(DEPRECATION) if handler is not None else None
    decision = scope["state"].get("rate_limit")
    wanted = security if deprecation is None else security | deprecation.headers()
    return wanted if decision is None else wanted | rate_limit_headers(decision)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
