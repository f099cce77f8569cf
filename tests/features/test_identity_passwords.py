"""The pool that hashes passwords, under more of them than it takes."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from litestar import Litestar

from insula.core import passwords as argon2
from insula.core.errors import RateLimited
from insula.core.passwords import Passwords
from tests.factories import World
from tests.features.signing_in import PASSWORD, sign_in


@pytest.mark.attack(131)
async def test_a_flood_of_passwords_is_shed_and_the_queue_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(argon2, "_cooked", lambda text, recipe: str(gate.wait(30)))
    pool = Passwords(parallel=2, min_length=15)
    flood = [asyncio.create_task(pool.hash(PASSWORD)) for _ in range(500)]
    await asyncio.sleep(0)
    try:
        shed = [task for task in flood if task.done()]
        threads: ThreadPoolExecutor = pool._threads
        assert len(flood) - len(shed) == 2 * 65
        assert threads._work_queue.qsize() <= 2 * 65
        for task in shed:
            assert isinstance(task.exception(), RateLimited)
        for task in flood[:20]:  # callers that go away leave no work behind
            task.cancel()
    finally:
        gate.set()
        await asyncio.gather(*flood, return_exceptions=True)
    assert pool._room == 2 * 65


async def test_where_a_sandbox_keeps_priorities_passwords_are_hashed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refused)
    assert (await Passwords(parallel=1, min_length=15).hash(PASSWORD)).startswith("$argon2id$")


@pytest.mark.attack(28)
async def test_a_shed_sign_in_is_told_when_to_come_back(world: World, litestar: Litestar) -> None:
    pool: Passwords = litestar.state.passwords
    room, pool._room = pool._room, 0
    try:
        shed = await sign_in(world.client(), "anybody@example.com")
    finally:
        pool._room = room
    assert shed.status_code == 429
    assert shed.headers["retry-after"] == "1"
