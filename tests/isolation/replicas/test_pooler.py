"""A replica behind PgBouncer, as the Kubernetes component has it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import yaml

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from tests.architecture.sources import ROOT
from tests.conftest import address, running
from tests.factories import World, settings_for
from tests.isolation.pgbouncer import PgBouncer
from tests.isolation.replicas.reading import names, plant, reads
from tests.isolation.standby import DATABASE, Pair

COMPONENT = ROOT / "k8s" / "components" / "replicas" / "kustomization.yaml"


def waits() -> dict[str, str]:
    """How long the component's pooler lets wait."""
    patches = yaml.safe_load(COMPONENT.read_text(encoding="utf-8"))["patches"]
    (patch,) = [yaml.safe_load(each["patch"]) for each in patches if each["target"]["kind"] == "Pooler"]
    parameters = {
        change["path"].rpartition("/")[2]: change["value"] for change in patch if "/parameters/" in change["path"]
    }
    return {name: parameters[name] for name in ("query_wait_timeout", "server_connect_timeout", "server_login_retry")}


@asynccontextmanager
async def behind_a_pooler(
    pair: Pair, redis_url: str, superuser: asyncpg.Connection, folder: Path
) -> AsyncIterator[World]:
    """The program, which finds its standby through PgBouncer in transaction mode, with one connection to it for all."""
    with PgBouncer(folder, pair.standby.dsn(), **waits()) as bouncer:
        settings = settings_for(
            database_url=pair.url("app_rw"),
            replica_database_url=address(bouncer.address, "app_rw", DATABASE),
            identity_database_url=pair.url("app_identity"),
            platform_database_url=pair.url("app_platform"),
            redis_url=redis_url,
            pgbouncer=bouncer.old,
        )
        litestar = create_litestar(settings)
        async with running(litestar):
            await asyncio.sleep(0.3)
            yield World(AccessLog(litestar), settings, superuser)


@pytest.mark.peers
async def test_through_a_pooler_two_organizations_read_on_one_connection_and_each_its_own(
    pair: Pair, redis_url: str, beats: None, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    async with behind_a_pooler(pair, redis_url, superuser, tmp_path) as world:
        owners = [await world.owner() for _ in range(2)]
        planted = [await plant(superuser, owner) for owner in owners]
        await pair.caught_up()
        before = reads("admitted")
        found = await asyncio.gather(*(names(owners[turn % 2]) for turn in range(40)))
        assert found == [[planted[turn % 2]] for turn in range(40)]
        assert reads("admitted") == before + 40
        assert await pair.on_standby("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_rw'") == 1


@pytest.mark.peers
async def test_behind_a_pooler_too_the_primary_answers_while_the_standby_is_away(
    pair: Pair, redis_url: str, beats: None, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    async with behind_a_pooler(pair, redis_url, superuser, tmp_path) as world:
        owner = await world.owner()
        name = await plant(superuser, owner)
        await pair.caught_up()
        assert await names(owner) == [name]
        before, took = reads("admitted"), []
        pair.standby.stop()
        try:
            for _ in range(10):
                begun = time.monotonic()
                assert await names(owner) == [name]
                took.append(time.monotonic() - begun)
                await asyncio.sleep(0.2)  # tries it again
            assert reads("admitted") == before
            assert max(took) < 8, "as long as deploy/pgbouncer.ini would let it wait"
        finally:
            pair.standby.start()
        await pair.caught_up()
        async with asyncio.timeout(15):  # the pooler looks again after server_login_retry
            while reads("admitted") == before:
                await asyncio.sleep(0.3)
                assert await names(owner) == [name]
