"""Rate limits while Redis is away, silent or full."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket

import pytest
from redis.asyncio import Redis

from insula.core import limits as limits_module
from insula.core.cache import connect
from insula.core.limits import Limit, Limiter
from insula.embedded.valkey import EmbeddedValkey

TEN = Limit("ten", 10, 60)
THREE = Limit("three", 3, 60)


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A server that a test may ill-treat."""
    server = EmbeddedValkey(tmp_path)
    server.start()
    async with connect(server.url) as client:
        yield client
    server.stop()


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, list[object]]]:
    """Accepts connections and never answers; the worst way to be away."""
    calls: list[object] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls


def closed_port() -> int:
    with socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def test_without_redis_limits_hold_per_process() -> None:
    async with connect(f"redis://127.0.0.1:{closed_port()}") as nobody:
        limiter = Limiter(nobody)
        pair = [("x", TEN), ("y", THREE)]
        assert [(await limiter.check(pair)).allowed for _ in range(4)] == [True] * 3 + [False]
        assert (await limiter.peek([("x", TEN)])).remaining == 7


async def test_without_redis_guessing_is_limited_more_strictly() -> None:
    guesses = Limit("guesses", 12, 60, strict=True)
    async with connect(f"redis://127.0.0.1:{closed_port()}") as nobody:
        limiter = Limiter(nobody)
        decisions = [await limiter.check([("k", guesses)]) for _ in range(12)]
    assert [decision.allowed for decision in decisions] == [True] * 3 + [False] * 9
    assert decisions[-1].retry_after == 20


async def test_a_silent_redis_costs_its_patience_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "_PROBE_SECONDS", 0.3)
    async with silent_server() as (url, calls), connect(url) as redis:
        limiter = Limiter(redis)
        started = time.perf_counter()
        await limiter.check([("k", TEN)])
        assert 0.2 < time.perf_counter() - started < 0.4
        started = time.perf_counter()
        for _ in range(200):
            await limiter.check([("k", TEN)])
        assert time.perf_counter() - started < 0.1
        await asyncio.sleep(0.3)
        before = len(calls)
        started = time.perf_counter()
        others = [asyncio.create_task(limiter.check([("k", TEN)])) for _ in range(50)]
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        assert time.perf_counter() - started < 0.1
        await asyncio.gather(*others)
        assert len(calls) == before + 1  # one request asked, the others did not wait


async def test_limits_are_shared_again_when_redis_is_back(own_redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "_PROBE_SECONDS", 0.05)
    limiter = Limiter(own_redis)
    await limiter.check([("k", THREE)])
    await own_redis.client_pause(400)
    alone = await limiter.check([("k", THREE)])
    assert alone.remaining == 2  # this process had seen nothing of the key
    await asyncio.sleep(0.3)
    assert (await limiter.check([("k", THREE)])).remaining == 1


@pytest.mark.attack(132)
async def test_a_full_redis_lifts_no_limit(own_redis: Redis) -> None:
    limiter = Limiter(own_redis)
    await own_redis.config_set("maxmemory", 1)
    allowed = [(await limiter.check([("k", THREE)])).allowed for _ in range(4)]
    assert allowed == [True] * 3 + [False]
