"""One caller takes all there is: bodies, pages, searches, connections, the database."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from insula.settings import Settings
from tests import workshop
from tests.factories import World
from tests.journeys.test_processes import Process, answers, environment, free_port

CAP = 1_048_576


@pytest.mark.attack(124)
async def test_a_body_without_end_is_refused_before_it_is_read(world: World) -> None:
    owner = await world.owner()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 20 * CAP:
            sent += 65_536
            yield b"x" * 65_536

    headers = {"content-type": "application/json"}
    answer = await owner.client.post(owner.url("/projects"), content=endless(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    announced = await owner.client.post(
        owner.url("/projects"), content=b"{}", headers={**headers, "content-length": str(1 << 30)}
    )
    assert announced.status_code == 413


@pytest.mark.attack(126)
@pytest.mark.parametrize(
    "query", ["limit=1000000000", "limit=101", "limit=0", "limit=-1", "offset=1000000000", "page=2"]
)
async def test_no_page_is_larger_than_a_page(world: World, query: str) -> None:
    owner = await world.owner()
    assert (await owner.client.get(owner.url(f"/projects?{query}"))).status_code == 400


@pytest.mark.attack(127)
@pytest.mark.parametrize("search", ["%", "%%%%", "_", "a%", "\\", "%" * 1000, "\U0010ffff", ".*"])
async def test_a_search_is_literal_however_it_is_spelt(world: World, search: str) -> None:
    owner = await world.owner()
    await owner.client.post(owner.url("/projects"), json={"name": "Anything", "key": "ANY"})
    answer = await owner.client.get(owner.url("/projects"), params={"name_prefix": search})
    assert answer.status_code in {200, 400}
    assert answer.status_code == 400 or answer.json()["data"] == []


@pytest.mark.attack(128)
async def test_a_thousand_idle_and_slow_connections_keep_nobody_out(settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    api = Process("api", environment(settings, port=port), tmp_path / "api.log")
    writers: list[asyncio.StreamWriter] = []
    try:
        await answers(f"http://127.0.0.1:{port}")
        for number in range(800):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            if number % 4 == 0:
                writer.write(b"POST /v1/auth/sign-in HTTP/1.1\r\nhost: x\r\nx-slow: ")  # and no more
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            for _ in range(10):
                assert (await client.get("/readyz")).status_code == 200
    finally:
        for writer in writers:
            writer.transport.abort()
        os.kill(api.process.pid, signal.SIGKILL)
        await asyncio.to_thread(api.process.wait, 10)


@pytest.mark.attack(129)
async def test_one_organizations_slow_queries_leave_room_for_the_others(settings: Settings, world: World) -> None:
    async with workshop.opened(settings, world.superuser, pool_size=4) as shop:
        slow, other = await shop.owner(), await shop.owner()
        naps = [
            asyncio.create_task(slow.client.get(slow.url("/workshop/naps"), params={"seconds": 0.4})) for _ in range(24)
        ]
        await asyncio.sleep(0.2)
        for _ in range(5):
            assert (await other.client.get(other.url("/projects"))).status_code == 200
        # Alone on four connections the naps take 2.4 s; the neighbour was served long before they were over.
        assert sum(nap.done() for nap in naps) < len(naps) / 2
        statuses = {(await nap).status_code for nap in naps}
        assert statuses <= {200, 429, 503}
        assert 200 in statuses


async def test_waiting_for_ones_own_share_ends(settings: Settings, world: World) -> None:
    async with workshop.opened(settings, world.superuser, pool_size=2) as shop:
        owner = await shop.owner()
        began = time.monotonic()
        nap = asyncio.create_task(owner.client.get(owner.url("/workshop/naps"), params={"seconds": 0.3}))
        assert (await owner.client.get(owner.url("/projects"))).status_code == 200
        assert (await nap).status_code == 200
        assert time.monotonic() - began < 10
