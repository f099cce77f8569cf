"""A primary with a standby, and the program that reads on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from litestar import Litestar

from insula.app import create_litestar
from insula.core import replica
from insula.core.http.access_log import AccessLog
from tests.conftest import running
from tests.factories import World, settings_for
from tests.isolation.standby import Pair


@pytest.fixture(scope="package")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    folder = Path(tmp_path_factory.mktemp("pair"))
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o711)  # where Postgres runs as nobody, it must be able to enter
    servers = Pair(folder)
    await servers.start()
    yield servers
    servers.stop()


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(replica, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(replica, "_REST_SECONDS", 0.1)
    yield


@pytest.fixture
async def app(pair: Pair, redis_url: str, beats: None) -> AsyncIterator[Litestar]:
    """The program with a replica."""
    settings = settings_for(
        database_url=pair.url("app_rw"),
        replica_database_url=pair.url("app_rw", standby=True),
        identity_database_url=pair.url("app_identity"),
        platform_database_url=pair.url("app_platform"),
        redis_url=redis_url,
    )
    litestar = create_litestar(settings)
    async with running(litestar):
        yield litestar


@pytest.fixture
async def superuser(pair: Pair) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(pair.primary.dsn("insula"))
    yield connection
    await connection.close()


@pytest.fixture
def world(app: Litestar, superuser: asyncpg.Connection) -> World:
    return World(
        AccessLog(app),
        settings_for(database_url="", redis_url="", identity_database_url="", platform_database_url=""),
        superuser,
    )
