"""Two installations behind one address: each request goes to its own, and nothing of one opens anything in the other."""

import os
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from insula.settings import Settings
from tests.conftest import clone, urls_of
from tests.deploy.fleet import Fleet
from tests.deploy.proxies import Cells
from tests.deploy.test_haproxy_flood import Counting
from tests.factories import Member, World

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

HOSTS = {"127.0.0.1": "cell1", "eu1.example.com": "cell1", "eu2.example.com": "cell2"}


class Town(msgspec.Struct, frozen=True):
    """The address in front, and an owner in each of two cells."""

    proxy: Cells
    owners: tuple[Member, Member]

    async def ask(self, path: str, host: str, member: Member | None = None, method: str = "GET") -> httpx.Response:
        headers = {"host": host}
        if member is not None:
            headers["authorization"] = f"Bearer {member.person.token}"
        async with httpx.AsyncClient(base_url=self.proxy.url, verify=self.proxy.trust) as client:
            return await client.request(method, path, headers=headers)


@pytest.fixture
async def town(addresses: dict[str, str], settings: Settings, tmp_path: Path) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        ports, owners = [], []
        for number in (1, 2):
            name, folder = f"insula_cell{number}_{os.getpid()}", tmp_path / f"cell{number}"
            folder.mkdir()
            await clone(addresses["admin"], name)
            stack.push_async_callback(drop, addresses["admin"], name)
            superuser = await asyncpg.connect(addresses["admin"], database=name)
            stack.push_async_callback(superuser.close)
            own = msgspec.structs.replace(settings, **urls_of(addresses["admin"], name), metrics_port=0)
            fleet = await stack.enter_async_context(Fleet(own, folder, apis=1, workers=0))
            ports.append(fleet.apis[0].port)
            owners.append(await World(None, own, superuser).owner())
        proxy = stack.enter_context(Cells(tmp_path, ports, HOSTS))
        yield Town(proxy, (owners[0], owners[1]))


async def drop(admin: str, name: str) -> None:
    connection = await asyncpg.connect(admin)
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


async def test_a_cell_that_is_away_is_away_alone(tmp_path: Path) -> None:
    """Nobody knows the name of the second one."""
    with Counting() as cell, ExitStack() as stack:
        threading.Thread(target=cell.serve_forever, daemon=True).start()
        stack.callback(cell.shutdown)
        hosts = {"127.0.0.1": "cell1", "eu2.example.com": "cell2", "eu9.example.com": "cell9"}
        proxy = stack.enter_context(Cells(tmp_path, [cell.server_address[1]], hosts))
        client = stack.enter_context(httpx.Client(base_url=proxy.url, verify=proxy.trust))
        assert client.get("/v1/me").status_code == 200
        for away_or_misspelt in ("eu2", "eu9"):
            told = client.get("/v1/me", headers={"host": f"{away_or_misspelt}.example.com"})
            assert (told.status_code, told.json()["code"]) == (503, "unavailable")
            assert told.headers["content-type"] == "application/problem+json"


async def test_a_host_is_a_cell_and_a_credential_is_good_in_its_own_only(town: Town) -> None:
    for member, own, other in zip(town.owners, ("eu1", "eu2"), ("eu2", "eu1"), strict=True):
        mine = await town.ask("/v1/me/organizations", f"{own}.example.com:443", member)
        assert [row["id"] for row in mine.json()["data"]] == [member.organization_id]
        assert (await town.ask(member.url(""), f"{own.upper()}.example.com", member)).status_code == 200
        for path in ("/v1/me/organizations", member.url("")):
            assert (await town.ask(path, f"{other}.example.com", member)).status_code == 401
    nowhere = await town.ask("/anything", "eu3.example.com", town.owners[0])
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")


async def test_programs_reach_a_listed_organization_by_any_host(town: Town) -> None:
    _, far = town.owners
    assert (await town.ask(far.url("/projects"), "eu1.example.com", far)).status_code == 401
    town.proxy.place(far.organization_id, "cell2")
    assert (await town.ask(far.url("/projects"), "eu1.example.com", far)).status_code == 200
    assert (await town.ask(far.url(""), "eu3.example.com", far)).status_code == 200
    assert (await town.ask("/v1/me", "eu1.example.com", far)).status_code == 401
