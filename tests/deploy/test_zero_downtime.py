"""Processes are restarted behind the proxies of deploy/ while clients read and write: no request fails, no job is lost."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from insula.settings import Settings
from tests.chaos.ledger import Ledger, Report
from tests.chaos.postbox import Postbox
from tests.conftest import address, clone
from tests.deploy.clients import Clients
from tests.deploy.fleet import Fleet
from tests.deploy.proxies import Caddy, HAProxy
from tests.factories import World

pytestmark = pytest.mark.peers

NAME = f"insula_deployed_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
caddy = pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")

PER_SECOND = 25
TENANTS = 4


@pytest.fixture
async def postbox() -> AsyncIterator[Postbox]:
    postbox = Postbox()
    await postbox.open()
    yield postbox
    postbox.close()


@pytest.fixture
async def installation(addresses: dict[str, str], settings: Settings, postbox: Postbox) -> Settings:
    """Settings of an installation with a database of its own, behind one proxy."""
    name = NAME
    await clone(addresses["admin"], name)
    logins = {"": "app_rw", "identity_": "app_identity", "platform_": "app_platform"}
    urls = {f"{purpose}database_url": address(addresses["admin"], login, name) for purpose, login in logins.items()}
    return msgspec.structs.replace(
        settings,
        **urls,
        owner_database_url=None,
        smtp_port=postbox.port,
        metrics_port=0,
        trusted_proxies=1,
        limit_invitations_per_day=1_000_000,
        limit_projects=1_000_000,
    )


@asynccontextmanager
async def superuser_of(admin: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(admin, database=NAME)
    try:
        yield connection
    finally:
        await connection.close()


async def rolled(
    fleet: Fleet, proxy: HAProxy, superuser: asyncpg.Connection, parts: tuple[Settings, Postbox], restarts: int
) -> Report:
    """Restart so often under load, and count."""
    settings, postbox = parts
    world = World(None, settings, superuser)
    owners = [await world.owner() for _ in range(TENANTS)]
    async with httpx.AsyncClient(base_url=proxy.url, verify=proxy.trust, timeout=30) as client:
        clients = Clients(client, owners, postbox)
        ledger = Ledger(clients)
        async with clients.asking(ledger, per_second=PER_SECOND):
            await fleet.roll(restarts)
        drained_after = await clients.settle(superuser)
    report = ledger.compare(
        forgotten=0,
        happened=await clients.happened(superuser),
        dead_letters=await superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status = 'dead'"),
        repeated_calls=0,
        killed={"api": restarts, "worker": restarts},
        drained_after=round(drained_after, 1),
    )
    print(msgspec.structs.replace(report, refused=report.refused[:3]), f"slowest answer: {clients.slowest:.2f} s")
    return report


def unprotected(configuration: str) -> str:
    """The same file without what protects requests."""
    configuration = re.sub(r"(?m)^    (option redispatch|retry-on|option httpchk|http-check) .*\n", "", configuration)
    configuration = re.sub(r"(?m)^    option httpchk\n", "", configuration)
    return configuration.replace("retries 3", "retries 0").replace("default-server check inter", "default-server inter")


@haproxy
async def test_restarts_of_every_process_cost_no_request_and_no_job(
    addresses: dict[str, str], installation: Settings, postbox: Postbox, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    restarts: int = pytestconfig.getoption("--deploy-restarts", 4)
    async with superuser_of(addresses["admin"]) as superuser, Fleet(installation, tmp_path, apis=3, workers=2) as fleet:
        with HAProxy(tmp_path, [api.port for api in fleet.apis]) as proxy:
            report = await rolled(fleet, proxy, superuser, (installation, postbox), restarts)
    assert report.acknowledged > restarts * PER_SECOND / 2, "too little was asked for to prove anything"
    assert report.doubtful == 0
    assert report.broken() == []


UNSERVED = r": 50[234] (?!.*request_id)"
"""That no process was there for a request: what the program refuses itself carries the request's id."""
BY_THE_PROXY = rf"{UNSERVED}|RemoteProtocolError|ReadError"
"""Likewise, or that its connection was cut."""


@haproxy
async def test_the_same_count_finds_what_fails_without_the_protection(
    addresses: dict[str, str], installation: Settings, postbox: Postbox, tmp_path: Path
) -> None:
    async with superuser_of(addresses["admin"]) as superuser, Fleet(installation, tmp_path, apis=3, workers=2) as fleet:
        with HAProxy(tmp_path, [api.port for api in fleet.apis], unprotected) as proxy:
            report = await rolled(fleet, proxy, superuser, (installation, postbox), 1)
    assert [answer for answer in report.refused if re.search(UNSERVED, answer)], report.refused
    otherwise = [answer for answer in report.refused if not re.search(BY_THE_PROXY, answer)]
    assert otherwise == [], "the program itself refused something"
    assert (report.lost, report.twice) == (0, 0), "what was answered happened all the same"


@haproxy
@pytest.mark.parametrize("change", [str, unprotected])
def test_haproxy_finds_nothing_wrong_with_the_file(tmp_path: Path, change: Callable[[str], str]) -> None:
    assert HAProxy(tmp_path, [8001, 8002, 8003], change).complaints() == ""


@caddy
async def test_on_one_server_requests_wait_for_the_process_that_is_replaced(
    addresses: dict[str, str], installation: Settings, tmp_path: Path
) -> None:
    async with superuser_of(addresses["admin"]) as superuser, Fleet(installation, tmp_path, apis=1, workers=0) as fleet:
        owner = await World(None, installation, superuser).owner()
        (api,) = fleet.apis
        headers = {"authorization": f"Bearer {owner.person.token}"}
        with Caddy(tmp_path, api.port) as proxy:
            async with httpx.AsyncClient(base_url=proxy.url, headers=headers, timeout=60) as client:
                await api.stop()
                listed = asyncio.create_task(client.get(owner.url("/members")))
                await asyncio.sleep(0.5)
                # Not before: Caddy 2.6 may send a body into a kept connection that was closed just now, and then, though
                # told to keep it, a request without it. What has no body tells it that the connection is gone.
                made = asyncio.create_task(client.post(owner.url("/projects"), json={"name": "Late", "key": "LATE"}))
                await asyncio.sleep(1)
                assert not made.done()
                assert not listed.done()
                api.start()
                assert (await made).status_code == 201
                assert (await listed).status_code == 200
