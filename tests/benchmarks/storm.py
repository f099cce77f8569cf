"""What others notice of a storm of sign-ins: the latency of unrelated GETs, idle and during it."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.benchmarks.harness import Bench, plant, repeated
from tests.benchmarks.process import Client, api
from tests.factories import Member

_ATTACKERS: Final = 16
_PAUSE_SECONDS: Final = 0.005
_PHASE_SECONDS: Final = 2.0
_GOAL: Final = 1.5


async def run(bench: Bench, scale: int) -> bool:
    owner = await bench.world.owner()
    await plant(bench.world.superuser, owner.organization_id, 100)
    idle: list[float] = []
    stormy: list[float] = []
    print("\nUnrelated GETs during a storm of sign-ins")
    async with api(bench.settings) as process:
        await _visits(process.port, owner)
        for _ in range(repeated(4, scale)):
            idle += await _visits(process.port, owner)
            async with _storm(process.port) as sign_ins:
                stormy += await _visits(process.port, owner)
                print(f"  {sign_ins.rate():.0f} sign-ins a second beside the visits")
    for name, found in (("idle", idle), ("storm", stormy)):
        print(f"  {name:<28}{statistics.median(found):>10.1f} ms median{_p99(found):>10.1f} ms p99")
    ratio = _p99(stormy) / _p99(idle)
    print(f"  p99 is {ratio:.2f}x (goal {_GOAL}x) {'ok' if ratio <= _GOAL else 'MISSED'}")
    return ratio <= _GOAL


async def _visits(port: int, owner: Member) -> list[float]:
    """GETs for a while, one after the other; milliseconds of each."""
    client = await Client.connect(port)
    found = []
    until = time.perf_counter() + _PHASE_SECONDS
    while (started := time.perf_counter()) < until:
        status = await client.request("GET", owner.url("/projects"), token=owner.person.token)
        found.append((time.perf_counter() - started) * 1000)
        assert status == 200
        await asyncio.sleep(_PAUSE_SECONDS)
    await client.close()
    return found


class _SignIns:
    """Counts what the storm came to."""

    _number = itertools.count()

    def __init__(self) -> None:
        self._count = 0
        self._started = time.perf_counter()

    def rate(self) -> float:
        """Sign-ins a second until now."""
        return self._count / (time.perf_counter() - self._started)

    async def attack(self, port: int) -> None:
        """Sign in as one stranger after the other: each costs the API a hash."""
        client = await Client.connect(port)
        try:
            while True:
                body = {"email": f"nobody{next(self._number)}@example.com", "password": "wrong horse battery staple"}
                status = await client.request("POST", "/v1/auth/sign-in", body=body)
                assert status in {401, 429}, status
                self._count += status == 401
        finally:
            await client.close()


@asynccontextmanager
async def _storm(port: int) -> AsyncIterator[_SignIns]:
    sign_ins = _SignIns()
    attackers = [asyncio.create_task(sign_ins.attack(port)) for _ in range(_ATTACKERS)]
    await asyncio.sleep(0.5)
    try:
        yield sign_ins
    finally:
        for attacker in attackers:
            attacker.cancel()
        ended = await asyncio.gather(*attackers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


def _p99(found: list[float]) -> float:
    return statistics.quantiles(found, n=100)[98]
