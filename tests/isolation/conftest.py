"""A database of the isolation tests' own: they break its schema and run hostile SQL in it."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from insula.core.logs import redact
from tests.canaries import WATCH
from tests.conftest import address, clone, running
from tests.factories import World, settings_for
from tests.isolation.arena import Arena
from tests.isolation.pgbouncer import PgBouncer


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("isolation")
    group.addoption("--isolation-examples", type=int, default=20, help="random mixtures of hostile SQL (default: 20)")
    group.addoption("--plan-rows", default=20_000, help="rows in each table whose lists are planned (default: 20,000)")
    group.addoption("--isolation-reads", type=int, default=2000, help="reads cancelled at random (default: 2,000)")


@pytest.fixture(scope="session")
def isolation_examples(pytestconfig: pytest.Config) -> int:
    """How many random mixtures of hostile SQL each test tries."""
    examples: int = pytestconfig.getoption("--isolation-examples", default=20)
    return examples


@pytest.fixture(autouse=True)
def quiet(logs: None) -> Iterator[None]:
    """Attacks fail in hundreds of ways; writing each with its trace would be most of the cost."""
    with capture_logs() as lines:
        yield
    for line in lines:
        WATCH.said(str(redact(line)))


@pytest.fixture(scope="session")
async def broken(addresses: dict[str, str]) -> AsyncIterator[str]:
    """The name of a database whose schema tests may break, each in a transaction that it rolls back."""
    name = f"insula_broken_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    yield name


@pytest.fixture
async def breaker(addresses: dict[str, str], broken: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's transaction in that database; whatever it does is undone."""
    connection = await asyncpg.connect(addresses["admin"], database=broken)
    try:
        await connection.execute("BEGIN")
        yield connection
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def arena(addresses: dict[str, str], redis_url: str) -> AsyncIterator[Arena]:
    """A program of its own, with one connection, and two tenants in it."""
    name = f"insula_arena_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    async with opened(addresses["admin"], name, redis_url=redis_url, pool_size=1) as arena:
        yield arena


@pytest.fixture(scope="session")
async def storm_arena(addresses: dict[str, str], redis_url: str) -> AsyncIterator[Arena]:
    """The same with two connections, for which many wait."""
    name = f"insula_storm_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    async with opened(addresses["admin"], name, redis_url=redis_url, pool_size=2) as arena:
        yield arena


@pytest.fixture(scope="session")
async def pooled_arena(addresses: dict[str, str], redis_url: str, tmp_path_factory: Any) -> AsyncIterator[Arena]:
    """The same behind PgBouncer in transaction mode: two connections of the program's share one to the server."""
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not installed")
    name = f"insula_pooled_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with PgBouncer(tmp_path_factory.mktemp("pgbouncer"), addresses["admin"]) as bouncer:
        options = {"redis_url": redis_url, "pool_size": 2, "pgbouncer": bouncer.old}
        async with opened(addresses["admin"], name, through=bouncer.address, **options) as arena:
            yield arena


@asynccontextmanager
async def opened(admin: str, name: str, *, through: str | None = None, **options: Any) -> AsyncIterator[Arena]:
    """The program on a fresh database; ``through`` is where its logins connect instead of the server."""
    await clone(admin, name)
    rw, identity, platform = (
        address(through or admin, login, name) for login in ("app_rw", "app_identity", "app_platform")
    )
    settings = settings_for(
        database_url=rw,
        identity_database_url=identity,
        platform_database_url=platform,
        owner_database_url=address(admin, "app_migrator", name),
        **options,
    )
    superuser = await asyncpg.connect(admin, database=name)
    app = create_litestar(settings)
    async with running(app):
        arena = Arena(app, World(AccessLog(app), settings, superuser), superuser)
        await arena.settle()
        yield arena
    await superuser.close()
