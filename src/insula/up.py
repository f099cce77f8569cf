"""`insula up`: the whole product on this machine, with a Postgres, a Valkey and a mail server of its own."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from base64 import b64encode
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from secrets import token_bytes, token_urlsafe
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

import httpx
import msgspec
import uvloop
from rich.console import Console

from insula import instance, seed
from insula.app import create_litestar
from insula.core.logs import configure_logs
from insula.core.mendable import Mendable
from insula.core.metrics import serve_metrics
from insula.core.tracing import TRACES
from insula.embedded.inbox import Inbox
from insula.embedded.postgres import EmbeddedPostgres
from insula.embedded.process import FolderServer
from insula.embedded.valkey import EmbeddedValkey
from insula.garbage import collect
from insula.ours import is_ours
from insula.progress import Progress
from insula.provision import LOGINS, RevisionRefused, forget, migrate, provision
from insula.server import hold, serve
from insula.settings import Settings, load, variables
from insula.worker import create_worker

DATABASE: Final = "insula"
_LOCALHOST: Final = "127.0.0.1"
_SECRETS: Final = "secrets.json"
_PLANTED: Final = "planted"
_PATIENCE_SECONDS: Final = 90
_LOOK_SECONDS: Final = 0.5
_SMTP_PORT, _INBOX_PORT, _METRICS_PORT = 1025, 8025, 9464


class CannotStart(Mendable):
    """Something about this machine or folder is in the way; the message says what to do."""


class _Secrets(msgspec.Struct):
    """What an instance made up for itself at its first start."""

    secret_key: str
    passwords: dict[str, str]


def up(home: Path, port: int, *, fresh: bool, console: Console, base_url: str | None = None) -> None:
    """Start everything in ``home`` and stay until Ctrl-C or SIGTERM. Port 0 takes a free one.

    ``base_url`` is where a front end is that hands its calls on: mailed links lead there, browsers may come from there.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"INSULA_HOME: no folder can be made at {home}: {error.strerror}") from error
    lock = instance.lock_of(home)
    if not lock.acquire(patience=0.5):  # `insula env` may be looking whether anybody has it
        raise CannotStart(f"Insula is already up in {home}. See `insula env`, or set INSULA_HOME to another folder.")
    try:
        instance.forget(home)  # what was killed could not
        with _held(port) as held, Progress(console) as progress:
            if fresh:
                _forget(home)
            _settings(home, 0, "redis://localhost", base_url)  # what is wrong is told before anything starts
            if unused := sorted(filter(is_ours, os.environ)):
                console.print(f"Not used here, where all servers are Insula's own: {', '.join(unused)}", style="dim")
            progress.say("Starting PostgreSQL and Valkey...")
            postgres, valkey = EmbeddedPostgres(home / "postgres"), EmbeddedValkey(home / "valkey")
            with postgres, valkey:
                progress.say("Preparing the database...")
                settings = _settings(home, postgres.port, valkey.url, base_url)
                asyncio.run(_prepare(home, postgres, settings))
                with TRACES.going_to(settings.traces_url, settings.traces_share, "up"):
                    uvloop.run(_live(home, settings, held, (postgres, valkey), progress))
    finally:
        instance.forget(home)
        lock.release()


def _held(port: int) -> socket.socket:
    try:
        return hold(_LOCALHOST, port)
    except OSError as error:
        raise CannotStart(f"Port {port} is in use. Choose another with --port; --port 0 takes a free one.") from error


def _forget(home: Path) -> None:
    """Only what is ours: INSULA_HOME may name a folder that has other things in it."""
    for name in ("postgres", "valkey", "inbox"):
        shutil.rmtree(home / name, ignore_errors=True)
    for name in (_PLANTED, _SECRETS):
        (home / name).unlink(missing_ok=True)


def _secrets(home: Path) -> _Secrets:
    path = home / _SECRETS
    if not path.exists():
        made = _Secrets(b64encode(token_bytes(32)).decode(), {login: token_urlsafe(24) for login in LOGINS})
        unfinished = path.with_suffix(".new")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(made))
        unfinished.replace(path)
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Secrets)
    except msgspec.DecodeError as error:
        raise CannotStart(f"{path} is damaged ({error}): restore it, or forget this instance with --fresh.") from error


def _settings(home: Path, postgres_port: int, redis_url: str, base_url: str | None) -> Settings:
    """Ours where they are about this machine, else what the environment says.

    Without the ports, which are known when they are taken.
    """
    secrets = _secrets(home)

    def address(login: str) -> str:
        return f"postgresql://{login}:{secrets.passwords[login]}@{_LOCALHOST}:{postgres_port}/{DATABASE}"

    ours = variables(
        Settings(
            environment="embedded",
            secret_key=secrets.secret_key,
            database_url=address("app_rw"),
            identity_database_url=address("app_identity"),
            platform_database_url=address("app_platform"),
            owner_database_url=address("app_migrator"),
            redis_url=redis_url,
            host=_LOCALHOST,
            base_url=base_url or _address(0),  # the API's own, once its port is known
            smtp_host=_LOCALHOST,
            smtp_tls="none",
            mail_from="no-reply@insula.example",
            log_level="warning",
            log_json=False,
        )
    )
    given = {name: value for name, value in os.environ.items() if not is_ours(name)}
    settings = load(ours | given)
    if settings.worker_queues is not None:
        raise CannotStart("INSULA_WORKER_QUEUES: up has one worker, which serves all queues. Unset it.")
    return settings


async def _prepare(home: Path, postgres: EmbeddedPostgres, settings: Settings) -> None:
    assert settings.owner_database_url is not None
    if not (home / _PLANTED).exists():
        await forget(postgres.dsn(), DATABASE)  # a first start that was cut short left half a demo
    await provision(postgres.dsn(), DATABASE, _secrets(home).passwords)
    try:
        await migrate(settings.owner_database_url)
    except RevisionRefused as error:
        raise CannotStart(
            f"What is in {home} was made by another release ({error}). Start that one, or forget its data with --fresh."
        ) from error


async def _live(
    home: Path, settings: Settings, held: socket.socket, servers: Sequence[FolderServer], progress: Progress
) -> None:
    """Everything that is ours, in one event loop: inbox, API, relay and worker."""
    configure_logs(settings.log_level, json=settings.log_json)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    inbox = Inbox(home / "inbox", _SMTP_PORT, _INBOX_PORT)
    await inbox.start()
    metrics = _metrics()
    settings = _on_ports(settings, held, metrics, inbox)
    app, worker = create_litestar(settings), create_worker(msgspec.structs.replace(settings, metrics_port=0))
    collect()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_ending(serve(app, settings, stopping, held), stopping))
            tasks.create_task(_ending(worker.serve(stopping), stopping))
            tasks.create_task(_ending(_tend(servers, stopping, progress.console), stopping))
            if not (home / _PLANTED).exists():
                progress.say("Planting the demo...")
                seed.UntoldOnce().listen()
                await seed.plant(settings)
                (home / _PLANTED).touch()
            progress.say("Waiting for the API...")
            if await _answers(settings, stopping):
                _announce(home, settings, inbox)
                progress.stop()
                _welcome(progress.console, settings, inbox)
                await stopping.wait()
            progress.console.print("\nStopping...", style="dim")
    finally:
        metrics.shutdown()
        metrics.server_close()
        await inbox.stop()


def _metrics() -> WSGIServer:
    """It listens at once: a port that was only found free may be another instance's by the time it is used."""
    loop = asyncio.get_running_loop()
    try:
        return serve_metrics(_METRICS_PORT, loop=loop)
    except OSError:
        return serve_metrics(0, loop=loop)


def _on_ports(settings: Settings, held: socket.socket, metrics: WSGIServer, inbox: Inbox) -> Settings:
    port = int(held.getsockname()[1])
    return msgspec.structs.replace(
        settings,
        port=port,
        base_url=_address(port) if settings.base_url == _address(0) else settings.base_url,
        metrics_port=metrics.server_port,
        smtp_port=inbox.smtp_port,
    )


def _address(port: int) -> str:
    return f"http://{_LOCALHOST}:{port}"


async def _answers(settings: Settings, stopping: asyncio.Event) -> bool:
    """Wait until the API says that it is ready; False where all of it is to end first."""
    async with httpx.AsyncClient() as client:
        for _ in range(_PATIENCE_SECONDS * 20):
            if stopping.is_set():
                return False
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{_address(settings.port)}/readyz")).status_code == HTTPStatus.OK:
                    return True
            await asyncio.sleep(0.05)
    raise CannotStart(
        f"The API did not become ready within {_PATIENCE_SECONDS} seconds; INSULA_LOG_LEVEL=info shows more."
    )


async def _tend(servers: Sequence[FolderServer], stopping: asyncio.Event, console: Console) -> None:
    """Start a server again that died; where it does not come back, all of this ends and says so."""
    while not stopping.is_set():
        for server in servers:
            if server.died:
                port = server.port
                server.start()
                if server.port != port:
                    raise CannotStart(f"The embedded {server.name} died, and its port is taken: start Insula again.")
                console.print(f"The embedded {server.name} died and was started again; its log is {server.log}.")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _LOOK_SECONDS)


async def _ending(part: Any, stopping: asyncio.Event) -> None:
    """When one part ends, all of them do."""
    try:
        await part
    finally:
        stopping.set()


def _announce(home: Path, settings: Settings, inbox: Inbox) -> None:
    addresses = {
        "INSULA_URL": _address(settings.port),
        "INSULA_DOCS_URL": f"{_address(settings.port)}/docs",
        "INSULA_INBOX_URL": inbox.url,
        "INSULA_METRICS_URL": f"http://{settings.metrics_host}:{settings.metrics_port}/metrics",
    }
    instance.write(home, addresses | variables(settings))


def _welcome(console: Console, settings: Settings, inbox: Inbox) -> None:
    console.print("[bold green]Insula is up.[/]  Ctrl-C stops all of it.\n")
    console.print(f"  API       {_address(settings.port)}")
    console.print(f"  Docs      {_address(settings.port)}/docs")
    console.print(f"  Inbox     {inbox.url}   (every mail it sends)")
    console.print(f"  Metrics   http://{settings.metrics_host}:{settings.metrics_port}/metrics\n")
    console.print(f'  Demo accounts, all with the password [bold]"{seed.PASSWORD}"[/]:')
    for line in seed.ACCOUNTS:
        console.print(f"    {line}")
