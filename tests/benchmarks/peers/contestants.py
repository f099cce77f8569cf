"""Who is measured: each a server process of its own, on the same PostgreSQL and the same Valkey."""

import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
import httpx
import psutil

from insula.embedded.process import free_port
from insula.settings import Settings, variables
from tests.benchmarks.harness import DATABASE
from tests.benchmarks.peers.data import Caller, Ours, Paths, Theirs
from tests.benchmarks.peers.install import Installed
from tests.benchmarks.peers.place import Command, running

OURS, FASTIFY, FASTAPI, NINJA = "ours", "Fastify + pg", "FastAPI + SQLAlchemy", "Django Ninja"
BETTER_AUTH: Final = "better-auth"
AUTH_DATABASE: Final = "better_auth"
_TWINS: Final = "tests.benchmarks.peers.twins"
_PER_MINUTE: Final = 10_000_000


class Contestant(NamedTuple):
    """A running server."""

    name: str
    process: psutil.Process
    port: int
    paths: Paths


class Ground(NamedTuple):
    """What all of them stand on."""

    installed: Installed
    settings: Settings
    admin: str
    """PostgreSQL as its superuser, whom row security leaves alone: the twins ask their own predicates."""
    logs: Path


@asynccontextmanager
async def all_running(ground: Ground) -> AsyncIterator[dict[str, Contestant]]:
    """All of them, one process and one worker each."""
    found = {}
    async with AsyncExitStack() as places:
        for number, (name, command) in enumerate(_commands(ground).items()):
            place = await places.enter_async_context(running(command, ground.logs / f"{number}.log"))
            found[name] = Contestant(name, place.process, place.port, Ours() if name == OURS else Theirs())
        yield found


def _commands(ground: Ground) -> dict[str, Command]:
    settings, installed = ground.settings, ground.installed
    shared = {
        "PEER_DATABASE_URL": database(ground.admin, DATABASE),
        "PEER_AUTH_DATABASE_URL": database(ground.admin, AUTH_DATABASE),
        "PEER_REDIS_URL": settings.redis_url,
        "PEER_SECRET": secrets.token_urlsafe(32),
        "PEER_PER_MINUTE": str(_PER_MINUTE),
        "NODE_ENV": "production",
        "DJANGO_SETTINGS_MODULE": f"{_TWINS}.ninja.settings",
    }

    def twin(*words: str | Path, port: int) -> Command:
        return Command(words, {**shared, "PEER_PORT": str(port)}, port, Theirs.ready)

    def node(script: str) -> Command:
        return twin(installed.node, installed.scripts / script, port=free_port())

    def python(*words: str, bind: str) -> Command:
        port = free_port()
        return twin(installed.python, "-m", *words, *bind.format(port).split(), port=port)

    port = free_port()
    own = {**variables(settings), "INSULA_PORT": str(port), "INSULA_METRICS_PORT": "0", "INSULA_HOST": "127.0.0.1"}
    uvicorn = f"--host 127.0.0.1 --port {{}} --workers 1 --loop uvloop --http httptools --no-access-log --log-level warning {_TWINS}.fastapi.routes:app"
    gunicorn = f"--bind 127.0.0.1:{{}} --workers 1 --worker-class gthread --threads 8 --keep-alive 75 --no-control-socket --log-level warning {_TWINS}.ninja.wsgi:application"
    return {
        OURS: Command([sys.executable, "-m", "tests.benchmarks.peers.ours"], own, port, Ours.ready),
        FASTIFY: node("fastify.mjs"),
        FASTAPI: python("uvicorn", bind=uvicorn),
        NINJA: python("gunicorn", bind=gunicorn),
        BETTER_AUTH: node("better_auth.mjs"),
    }


def database(admin: str, name: str) -> str:
    return f"{admin.rsplit('/', 1)[0]}/{name}"


async def make_auth_database(admin: str) -> None:
    """better-auth has tables of its own, and makes them itself."""
    connection = await asyncpg.connect(admin)
    await connection.execute(f"CREATE DATABASE {AUTH_DATABASE}")
    await connection.close()


async def sign_up(better_auth: Contestant, callers: list[Caller]) -> None:
    """The same people there; each gets a session and its cookie."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{better_auth.port}") as client:
        for caller in callers:
            person = caller.member.person
            body = {"email": person.email, "name": person.name, "password": secrets.token_urlsafe(16)}
            answer = await client.post("/api/auth/sign-up/email", json=body)
            assert answer.status_code == 200, answer.text
            caller.cookie = answer.headers["set-cookie"].partition(";")[0]
            client.cookies.clear()
