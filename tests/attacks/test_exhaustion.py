"""One caller takes all there is: bodies, pages, searches, the organization's share of the database."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from insula.settings import Settings
from tests import workshop
from tests.factories import World

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


async def test_waiting_for_ones_own_share_ends(settings: Settings, world: World) -> None:
    async with workshop.opened(settings, world.superuser, pool_size=2) as shop:
        owner = await shop.owner()
        began = time.monotonic()
        nap = asyncio.create_task(owner.client.get(owner.url("/workshop/naps"), params={"seconds": 0.3}))
        assert (await owner.client.get(owner.url("/projects"))).status_code == 200
        assert (await nap).status_code == 200
        assert time.monotonic() - began < 10
