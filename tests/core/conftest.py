"""The bench that tests of jobs work on, in a database of its own; logging left as it was found; how large a flood is."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
import structlog
from redis.asyncio import Redis

from tests.conftest import address, clone
from tests.core.workbench import Workbench
from tests.tenant_tables import create_table


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--flood-jobs", type=int, default=30_000, help="one organization's jobs (long form: 1,000,000)")


@pytest.fixture(scope="session")
async def job_urls(addresses: dict[str, str], redis_url: str) -> dict[str, str]:
    """A database of jobs alone, whose jobs are all there are, by login; ``redis`` beside it."""
    name = f"insula_jobs_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    admin = addresses["admin"].rsplit("/", 1)[0] + f"/{name}"
    await create_table(address(addresses["admin"], "app_migrator", name), "effect", "user_id", "job_id", "note")
    logins = {login: address(addresses["admin"], login, name) for login in ("app_rw", "app_platform")}
    return {**logins, "admin": admin, "redis": redis_url}


@pytest.fixture
async def bench(job_urls: dict[str, str]) -> AsyncIterator[Workbench]:
    """The bench, with nothing on it."""
    async with AsyncExitStack() as stack:
        superuser = await asyncpg.connect(job_urls["admin"])
        stack.push_async_callback(superuser.close)
        redis = Redis.from_url(job_urls["redis"], socket_timeout=5)
        stack.push_async_callback(redis.aclose)
        bench = Workbench(job_urls, superuser, redis)
        for database in (bench.database, bench.platform, bench.anybody):
            await database.open()
            stack.push_async_callback(database.close)
        await bench.clear()
        yield bench


@pytest.fixture
def quiet_again() -> Iterator[None]:
    """Logging is the process's: leave it as it was found."""
    handlers, level, before = logging.root.handlers[:], logging.root.level, structlog.get_config()
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:], logging.root.level = handlers, level
