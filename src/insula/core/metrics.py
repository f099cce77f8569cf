"""What Prometheus may know: never a tenant, never a user, only labels that the code itself spells."""

import asyncio
import math
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
)
from prometheus_client.exposition import ThreadingWSGIServer

from insula.core.certificate import Certificate

# They are a second series for every counter, which nothing reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

UNMATCHED: Final = "unmatched"
"""The route of a request that no route answers: its path is the caller's text and must not become a label."""

LOOP_SECONDS: Final = 5.0
"""An event loop that has not turned for so long is stuck: what blocks it longest is far below a second."""

_CLIENT_SECONDS: Final = 10.0
"""A client that says nothing for so long holds no thread any more."""
MOST_CONNECTIONS: Final = 32
"""At once, each in a thread: far more than a Prometheus and an orchestrator's probes need."""
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_HTTP_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_JOB_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(name, meaning, labels, registry=REGISTRY)


HTTP_REQUESTS: Final = _counter("http_requests", "Requests answered.", "method", "route", "status")
HTTP_SECONDS: Final = Histogram(
    "http_request_seconds",
    "Until the answer is there, however slowly it is read then.",
    ("method", "route"),
    buckets=_HTTP_BUCKETS,
    registry=REGISTRY,
)
HTTP_IN_FLIGHT: Final = _gauge("http_requests_in_flight", "Requests under way.")

TLS_REMAINING: Final = _gauge(
    "tls_certificate_remaining_seconds", "Until the certificate ends with which this process serves; +Inf without one."
)
TLS_REMAINING.set(math.inf)

DB_POOL_SIZE: Final = _gauge("db_pool_size", "The most connections the login may hold.", "login")
DB_POOL_IN_USE: Final = _gauge("db_pool_in_use", "Connections handed out.", "login")
DB_POOL_WAITING: Final = _gauge("db_pool_waiting", "Transactions waiting for a connection.", "login")

OUTBOX_DEPTH: Final = _gauge("outbox_depth", "Jobs due and not yet done, 10,000 at most.", "queue")
OUTBOX_OLDEST: Final = _gauge(
    "outbox_oldest_seconds",
    "How long the oldest due job has waited; where this process serves the queue, but for those beyond their pace.",
    "queue",
    "served",
)
OUTBOX_PACED: Final = _gauge(
    "outbox_paced", "Organizations and people who ask for jobs faster than these are handed out."
)
JOBS: Final = _counter("jobs", "Runs of jobs.", "task", "outcome")
JOB_SECONDS: Final = Histogram(
    "job_seconds", "How long a run took.", ("task",), buckets=_JOB_BUCKETS, registry=REGISTRY
)
DEAD_LETTERS: Final = _gauge("dead_letters", "Jobs given up, waiting for an operator.")
CHORES_UNDONE: Final = _counter(
    "chores_undone", "Runs of what comes round by itself that failed, or left some of it undone.", "chore"
)

RATE_LIMIT_DECISIONS: Final = _counter(
    "rate_limit_decisions", "Requests counted; `_alone` means without Redis.", "limit", "outcome"
)
REPLICA_READS: Final = _counter(
    "replica_reads", "Reads offered to the replica; other than `admitted`, they went to the primary.", "outcome"
)
AUTH: Final = _counter("auth", "Credentials shown.", "kind", "outcome")


@lru_cache(maxsize=256)
def shown(kind: str, outcome: str) -> Counter:
    """What counts credentials of a kind that the door so answered."""
    return AUTH.labels(kind, outcome)


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request; ``route`` is the template, never the path."""
    answered, duration = _series(method, route, status)
    answered.inc()
    duration.observe(seconds)


@lru_cache(maxsize=8192)
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    verb = method if method in _METHODS else "OTHER"
    return HTTP_REQUESTS.labels(verb, route, str(status)), HTTP_SECONDS.labels(verb, route)


def watch_pool(
    login: str, size: Callable[[], float], in_use: Callable[[], float], waiting: Callable[[], float]
) -> None:
    """Read a pool's state whenever Prometheus asks; the callables run in the exporter's thread."""
    DB_POOL_SIZE.labels(login).set_function(size)
    DB_POOL_IN_USE.labels(login).set_function(in_use)
    DB_POOL_WAITING.labels(login).set_function(waiting)


Lacks = Callable[[], Coroutine[Any, Any, str | None]]
"""Says what keeps a process from its work; None for nothing."""


def serve_metrics(
    port: int,
    host: str = "127.0.0.1",
    loop: asyncio.AbstractEventLoop | None = None,
    lacks: Lacks | None = None,
    certificate: Certificate | None = None,
) -> WSGIServer:
    """Answer Prometheus from a thread; /livez says whether ``loop`` still turns, /readyz what the process ``lacks``.

    Over TLS where there is a certificate. Ends with ``shutdown()`` and ``server_close()``.

    One process, one port: a second process on the same port raises OSError. Port 0 takes a free one.
    """
    exporter = make_wsgi_app(REGISTRY)
    answer = exporter if loop is None else _with_probes(exporter, loop, lacks)
    try:
        server = make_server(host, port, answer, _Server6 if ":" in host else _Server, _Handler)
    except OSError as error:
        told = f"cannot serve the metrics on {host}:{port} (INSULA_METRICS_PORT): {error.strerror}"
        raise OSError(told) from error
    if certificate is not None:
        # The handshake waits for the client: in its own thread, not in the one that accepts.
        server.socket = certificate.context().wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        TLS_REMAINING.set_function(lambda: certificate.remaining_seconds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Server(ThreadingWSGIServer):
    """A thread for each connection, and so many at most: the oldest makes room, for whoever came before and still says
    nothing is not who asks now. Says nothing of clients that hang up or speak no TLS.
    """

    request_queue_size = 128  # beyond it newcomers wait for a second or more, however soon there is room

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > MOST_CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
                with suppress(OSError):  # its thread is about to end
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)  # past TLS, which its thread may be speaking
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:  # which keeps the socket open as long as another may shut it down
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_SECONDS

    def log_message(self, *_: Any) -> None:
        pass


def _with_probes(exporter: WSGIApplication, loop: asyncio.AbstractEventLoop, lacks: Lacks | None) -> WSGIApplication:
    probes: dict[str, Lacks] = {"/livez": _nothing} if lacks is None else {"/livez": _nothing, "/readyz": lacks}

    def answer(request: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        probe = probes.get(request["PATH_INFO"])
        if probe is None:
            return exporter(request, start_response)
        wrong = _asked(probe, loop)
        start_response("503 Service Unavailable" if wrong else "200 OK", [("content-type", "text/plain")])
        return [(wrong or "ok").encode()]

    return answer


async def _nothing() -> None:
    """What a process lacks that comes to this."""


def _asked(probe: Lacks, loop: asyncio.AbstractEventLoop) -> str | None:
    """Asked from a thread, which still answers when the process does nothing else any more."""
    asking = asyncio.run_coroutine_threadsafe(probe(), loop)
    try:
        return asking.result(LOOP_SECONDS)
    except TimeoutError:
        asking.cancel()
        return "the event loop stands still"
