"""A database of the isolation tests' own: they break its schema and run hostile SQL in it."""

import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from tests.conftest import address, clone, running
from tests.factories import World, settings_for
from tests.isolation.arena import Arena


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("isolation")
    group.addoption("--isolation-examples", type=int, default=20, help="random mixtures of hostile SQL (default: 20)")
    group.addoption("--isolation-reads", type=int, default=1000, help="reads cancelled at random (default: 1,000)")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Attacks fail in hundreds of ways; printing each with its trace would be most of the cost."""
    with capture_logs():
        yield


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
    """A program of its own, one connection to each pool, and two tenants in it."""
    name = f"insula_arena_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    urls = {login: address(addresses["admin"], login, name) for login in ("app_rw", "app_identity", "app_platform")}
    settings = settings_for(
        database_url=urls["app_rw"], identity_database_url=urls["app_identity"],
        platform_database_url=urls["app_platform"], redis_url=redis_url, pool_size=1,
    )
    superuser = await asyncpg.connect(addresses["admin"], database=name)
    app = create_litestar(settings)
    async with running(app):
        arena = Arena(app, World(AccessLog(app), settings, superuser), superuser)
        await arena.settle()
        yield arena
    await superuser.close()
