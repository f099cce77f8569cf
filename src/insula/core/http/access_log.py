"""Every request's ids, its line in the log and its place in the metrics."""

import re
from collections.abc import Iterable
from time import perf_counter
from typing import Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars
from uuid_utils import uuid7

from insula.core import metrics
from insula.core.tracing import TRACES, Span, trace_id_of

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_-]{8,64}")
# W3C Trace Context, section 3.2.2: version ff and an all-zero trace or parent are invalid.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?"
)
_LONGEST_METHOD: Final = 16
_LONGEST_PATH: Final = 512
"""Ours are shorter, and others are their sender's text."""
_NOWHERE: Final = "/nowhere"
PROBES: Final = frozenset({"/livez", "/readyz"})
"""Asked every few seconds by the orchestrator: logged at debug level only."""

log = structlog.get_logger("insula.access")


class AccessLog:
    """Stands outside the framework, so that it also sees what no route answers and what failed.

    Leaves ``request_id`` and ``trace_id`` in ``scope["state"]`` and in the request's log lines, to which the
    door adds ``tenant`` and ``user`` with ``bind_contextvars``. Headers, bodies and queries stay out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id, parent = _ids(scope["headers"])
        with TRACES.span("request", parent) as span:
            trace_id = span.trace_id if span else trace_id_of(parent) or uuid7().hex
            scope.setdefault("state", {}).update(request_id=request_id, trace_id=trace_id)
            clear_contextvars()
            bind_contextvars(request_id=request_id, trace_id=trace_id)
            await self._observed(scope, receive, send, request_id, span)

    async def _observed(
        self, scope: HTTPScope, receive: Receive, send: Send, request_id: str, span: Span | None
    ) -> None:
        path, header = scope["path"], (b"x-request-id", request_id.encode())
        _bound(scope)
        status, size, started, answered = 0, 0, perf_counter(), 0.0

        async def observe(message: Message) -> None:
            nonlocal status, size, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
                if not answered:  # how slowly it is read is the caller's doing, and no work of ours
                    answered = perf_counter()
                    metrics.HTTP_IN_FLIGHT.dec()
            await send(message)

        metrics.HTTP_IN_FLIGHT.inc()
        try:
            await self._app(scope, receive, observe)
        except Exception:
            status = status or 500  # what the server will answer
            log.exception("request failed")
            raise
        finally:
            if not answered:
                answered = perf_counter()
                metrics.HTTP_IN_FLIGHT.dec()
            status = status or 499  # the caller went away before there was an answer
            _record(scope, path, status, size, answered - started)
            if span is not None:
                _describe(span, scope, status)


def _ids(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str | None]:
    """The request's id, ours unless the caller's is harmless, and which span it belongs to, if the caller says so."""
    request_id, parent = "", None
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode()
        elif name == b"traceparent" and (parts := _TRACEPARENT.fullmatch(value)):
            parent = parts[1].decode()
    return request_id or uuid7().hex, parent


def _bound(scope: HTTPScope) -> None:
    """Lead what is no path of ours nowhere.

    The framework remembers a thousand paths that it was asked for, of any length; and to it ``//v1/me/`` is
    ``/v1/me``, while links that begin with two slashes name another host (RFC 3986, section 4.2).
    """
    path = scope["path"]
    ours = len(path) <= _LONGEST_PATH and len(scope["method"]) <= _LONGEST_METHOD
    if not ours or "//" in path or (path.endswith("/") and path != "/"):
        scope["path"], scope["raw_path"] = _NOWHERE, _NOWHERE.encode()
        scope["method"] = scope["method"][:_LONGEST_METHOD]  # type: ignore[typeddict-item]  # any token is a method


def _record(scope: HTTPScope, path: str, status: int, size: int, seconds: float) -> None:
    method, route = scope["method"], scope.get("path_template") or metrics.UNMATCHED
    metrics.observe_request(method, route, status, seconds)
    write = log.debug if path in PROBES else log.error if status >= 500 else log.info
    write(
        "request",
        method=method,
        path=path[:_LONGEST_PATH],
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 2),
        bytes=size,
    )


def _describe(span: Span, scope: HTTPScope, status: int) -> None:
    """In the words of OpenTelemetry's semantic conventions for HTTP; the tenant, since nobody counts by it here."""
    method, route = scope["method"], scope.get("path_template") or metrics.UNMATCHED
    known = get_contextvars()
    attributes = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        **{f"insula.{name}": known[name] for name in ("request_id", "tenant") if name in known},
    }
    span.describe(f"{method} {route}", attributes, failed=status >= 500)
