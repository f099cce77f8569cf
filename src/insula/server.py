"""The API process: one granian server in one event loop, drained before it stops."""

import asyncio
import signal
import socket
from typing import Final

import structlog
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar import Litestar

from insula.app import create_litestar
from insula.core.certificate import Certificate, certificate_of
from insula.core.http.access_log import AccessLog
from insula.core.http.handover import Handover
from insula.core.metrics import serve_metrics
from insula.core.tracing import TRACES
from insula.garbage import collect
from insula.settings import Settings
from insula.unencrypted import TRUSTED

_CONNECTIONS: Final = 4096
_HEADER_MILLISECONDS: Final = 10_000

_log = structlog.get_logger("insula.server")


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if settings.trusted_network:
        _log.warning(TRUSTED)
    exporter = None
    if settings.metrics_port:
        exporter = serve_metrics(settings.metrics_port, settings.metrics_host, loop, certificate=_certificate(settings))
    try:
        with TRACES.going_to(settings.traces_url, settings.traces_share, "api"):
            app = create_litestar(settings)
            collect()
            await serve(app, settings, stopping)
    finally:
        if exporter is not None:
            exporter.shutdown()
            exporter.server_close()


async def serve(app: Litestar, settings: Settings, stopping: asyncio.Event, held: socket.socket | None = None) -> None:
    """Serve until ``stopping``. Requests under way get ``drain_seconds``; the server refuses new connections at once.

    ``held`` is the settings' port, where ``hold`` has taken it before.
    Raises what keeps the program from starting: Unproven, or OSError for a server or a port that cannot be had.
    """
    async with app.lifespan():  # ours and not granian's, which keeps to itself why a start failed
        with held or hold(settings.host, settings.port):
            await _serve(app, settings, stopping)


async def _serve(app: Litestar, settings: Settings, stopping: asyncio.Event) -> None:
    certificate = _certificate(settings)
    server = Server(
        Handover(AccessLog(app)),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,  # what proxies speak to us; HTTP/2 would be a second way in with limits of its own
        websockets=False,
        # Granian admits as many connections as it may queue: idle ones must not keep others out.
        backlog=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_MILLISECONDS),
        log_enabled=False,
        ssl_cert=None if certificate is None else certificate.chain,
        ssl_key=None if certificate is None else certificate.key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    serving = asyncio.create_task(server.serve())
    told = asyncio.create_task(stopping.wait())
    _log.info("api listening", host=settings.host, port=settings.port)
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if serving.done():
        raise OSError(f"cannot serve on {settings.host}:{settings.port}") from serving.exception()
    _log.info("api draining", seconds=settings.drain_seconds)
    app.state.readiness.draining = True
    server.stop()  # type: ignore[no-untyped-call]
    _, late = await asyncio.wait({serving}, timeout=settings.drain_seconds)
    if late:
        _log.warning("requests were still under way when the time to drain was over")
        serving.cancel()
    _log.info("api stopped")


def _certificate(settings: Settings) -> Certificate | None:
    return certificate_of(settings.tls_certificate_file, settings.tls_key_file)


def hold(host: str, port: int) -> socket.socket:
    """A port that nobody else can take from now on, on which nobody listens yet; 0 takes a free one. Raises OSError.

    The server would share a port with whoever listens there, and get half of their requests. It does share this one,
    with a socket that listens to nobody: so a port that was found free is still ours when the server starts.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family)
    try:
        if port:
            with socket.socket(family) as asking:  # listening, it would be found by clients who wait for this start
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                asking.bind((host, port))
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # as the server asks for it
            held.setsockopt(socket.SOL_SOCKET, option, 1)
        held.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # it was for connections of the past alone
    except OSError as error:
        held.close()
        raise OSError(f"INSULA_HOST, INSULA_PORT: cannot listen on {host}:{port}: {error.strerror}") from error
    return held
