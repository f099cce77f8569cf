"""One Postgres and one Valkey per run, one database per worker, people and organizations on demand."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from litestar import Litestar

from insula.app import create_litestar
from insula.core import limits
from insula.core.http.access_log import AccessLog
from insula.core.logs import configure_logs
from insula.embedded.postgres import EmbeddedPostgres
from insula.embedded.valkey import EmbeddedValkey
from insula.provision import LOGINS, migrate, open_database, provision
from insula.schema import INVENTORY, REVISION
from insula.settings import Settings, variables
from tests.architecture.sources import ROOT
from tests.events import misfits
from tests.factories import World, settings_for
from tests.labelled import invented

pytest_plugins = ["tests.skips", "tests.canaries", "tests.declared"]

TEMPLATE = "insula_template"
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
PASSWORDS = {role: role for role in LOGINS}


class Servers:
    """The servers of this run; with xdist, the controller's."""

    def __init__(self, folder: Path, makers: list[Path], until: str) -> None:
        self.folder, self.makers, self.until = folder, makers, until
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=QUICK)
        self.valkey = EmbeddedValkey(folder / "valkey")

    def start(self) -> dict[str, str]:
        admin = os.environ.get("INSULA_TEST_ADMIN_DATABASE_URL")
        if admin is None:
            self.postgres.start()
            admin = self.postgres.dsn()
        redis = os.environ.get("INSULA_TEST_REDIS_URL")
        if redis is None:
            self.valkey.start()
            redis = self.valkey.url
        if self.makers:
            asyncio.run(_made_by_others(self.makers, self.until, admin, redis))
        else:
            asyncio.run(_template(admin))
        return {"admin": admin, "redis": redis}

    def stop(self) -> None:
        self.postgres.stop()
        self.valkey.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write inventory, diagram and permission matrix anew")
    makers = "a checkout of another release, which makes the database; said again, one that migrates it then"
    parser.addoption("--schema-from", type=Path, action="append", default=[], metavar="CHECKOUT", help=makers)
    until = "the revisions to which the last of these migrates; to its newest, if nothing is said"
    parser.addoption("--schema-until", default="", metavar="REVISIONS", help=until)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    folder = Path(tempfile.mkdtemp(prefix="insula-tests-"))
    folder.chmod(0o711)  # where Postgres runs as nobody, it must be able to enter
    servers = Servers(folder, config.option.schema_from, config.option.schema_until)
    config.stash[_SERVERS] = servers
    config.stash[_ADDRESSES] = servers.start()


def pytest_configure_node(node: Any) -> None:
    node.workerinput["insula"] = node.config.stash[_ADDRESSES]


def pytest_unconfigure(config: pytest.Config) -> None:
    if (servers := config.stash.get(_SERVERS, None)) is not None:
        servers.stop()


_SERVERS = pytest.StashKey[Servers]()
_ADDRESSES = pytest.StashKey[dict[str, str]]()


async def _template(admin: str) -> None:
    """Migrate once; every database of the run is a copy."""
    await provision(admin, TEMPLATE, PASSWORDS)
    await _sign_in_cheaply(admin)
    await migrate(address(admin, "app_migrator", TEMPLATE))


async def _made_by_others(makers: list[Path], until: str, admin: str, redis: str) -> None:
    """By other releases, one after the other, as their operator would: provisioned once, migrated by each.

    As long as revisions change in place their names do not tell two releases apart: where only their contents differ,
    the schema says it too.
    """
    settings = settings_for(**urls_of(admin, TEMPLATE), redis_url=redis, admin_database_url=admin)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
    commands = [(makers[0], "provision"), *((maker, "migrate") for maker in makers)]
    if until:
        commands[-1:] = [(makers[-1], f"migrate {revision}") for revision in until.split()]
    for maker, command in commands:
        environment = inherited | variables(settings) | {"PYTHONPATH": str(maker.resolve() / "src")}
        line = [sys.executable, "-P", "-m", "insula", *command.split()]
        subprocess.run(line, cwd=maker, env=environment, check=True)
    await _sign_in_cheaply(admin)
    connection = await asyncpg.connect(admin, database=TEMPLATE)
    try:
        reached = await connection.fetchval("SELECT obj_description('app'::regnamespace, 'pg_namespace')")
        inventory = makers[-1] / INVENTORY.relative_to(ROOT)
        if reached == REVISION and inventory.read_text() != INVENTORY.read_text():
            await connection.execute(f"COMMENT ON SCHEMA app IS '{reached} unfinished'")
    finally:
        await connection.close()


async def _sign_in_cheaply(admin: str) -> None:
    """Store the passwords anew, where the server can, so that showing one costs a client one hash instead of 4,096.

    Tests open connections by the thousand, and most of the price of one is this: 7 ms of CPU.
    """
    connection = await asyncpg.connect(admin)
    try:
        setting = "scram_iterations"  # PostgreSQL 16 and newer
        if await connection.fetchval("SELECT set_config(name, '1', false) FROM pg_settings WHERE name = $1", setting):
            for login, password in PASSWORDS.items():
                await connection.execute(f"ALTER ROLE {login} PASSWORD '{password}'")
    finally:
        await connection.close()


def address(admin: str, login: str, database: str) -> str:
    """The DSN of one of our logins on the run's server."""
    host = admin.rsplit("@", 1)[1].split("/", 1)[0]
    return f"postgresql://{login}:{PASSWORDS[login]}@{host}/{database}"


def urls_of(admin: str, database: str) -> dict[str, str]:
    """The settings that say where each login finds a database."""
    logins = {"": "app_rw", "identity_": "app_identity", "platform_": "app_platform", "owner_": "app_migrator"}
    return {f"{purpose}database_url": address(admin, login, database) for purpose, login in logins.items()}


async def clone(admin: str, name: str) -> None:
    """A fresh, migrated database."""
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')
        await open_database(connection, name)
    finally:
        await connection.close()


@pytest.fixture(autouse=True)
def logs() -> None:
    """As in production, and everything: what is written is watched, and tracebacks for people take seconds to draw."""
    configure_logs("debug", json=True)


@pytest.fixture(scope="session")
def addresses(pytestconfig: pytest.Config) -> dict[str, str]:
    """Superuser DSN (``admin``) and ``redis`` URL of the run's servers."""
    worker = getattr(pytestconfig, "workerinput", None)
    found: dict[str, str] = worker["insula"] if worker else pytestconfig.stash[_ADDRESSES]
    return found


@pytest.fixture(scope="session")
def redis_url(addresses: dict[str, str]) -> str:
    """A Redis database of this worker's own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return addresses["redis"].rsplit("/", 1)[0] + f"/{int(worker) % 16}"


@pytest.fixture(scope="session")
async def database(addresses: dict[str, str]) -> AsyncIterator[str]:
    """The name of this worker's database."""
    name = f"insula_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    yield name


@pytest.fixture(scope="session")
def settings(addresses: dict[str, str], database: str, redis_url: str) -> Settings:
    """What the program under test runs with; limits high enough to be out of the way."""
    return settings_for(**urls_of(addresses["admin"], database), redis_url=redis_url)


@pytest.fixture(scope="session")
async def litestar(settings: Settings) -> AsyncIterator[Litestar]:
    """The program, running."""
    with pytest.MonkeyPatch.context() as patch:
        # On a crowded machine Redis is late and not away, and the stricter limits of then refuse what a test asks for.
        patch.setattr(limits, "_PATIENCE_SECONDS", 10.0)
        app = create_litestar(settings)
    async with running(app):
        yield app


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[None]:
    """Start up and shut down in one task: fixtures are entered and left in different ones."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await stop.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if task.done():
            task.result()
        yield
    finally:
        stop.set()
        await task


@pytest.fixture(scope="session")
async def superuser(addresses: dict[str, str], database: str) -> AsyncIterator[asyncpg.Connection]:
    """Sees everything: for arranging and for looking behind row security, and in the end for all that was recorded."""
    connection = await asyncpg.connect(addresses["admin"], database=database)
    try:
        yield connection
        assert await misfits(connection) == [], "events that are not as their types say"
        assert invented() == [], "values of labels that tests/labelled.py does not list"
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def world(litestar: Litestar, settings: Settings, superuser: asyncpg.Connection) -> Iterator[World]:
    """People, organizations and clients signed in as them."""
    yield World(AccessLog(litestar), settings, superuser)
