"""One run of chaos: clients ask, everything is killed, and then the promises are counted."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.chaos.contenders import Contender
from tests.chaos.house import House
from tests.chaos.ledger import DRAIN_SECONDS, Ledger, Report

ALL: Final = ("worker", "worker", "worker", "api", "api", "redis", "postgres")
"""What is killed, the likeliest most often."""
_CLIENTS: Final = 4
_CLIENT_PAUSE: Final = 0.02


async def run(
    contender: Contender, *, kills: int, seconds: float, victims: tuple[str, ...] = ALL, patience: float = DRAIN_SECONDS
) -> Report:
    """Kill ``kills`` times within ``seconds`` while clients ask, let everything come to rest, and count."""
    async with House(contender.crew) as house, _orchestrated(house):
        await contender.open(house)
        ledger = Ledger(contender)
        async with _asking(ledger):
            for victim in itertools.islice(_in_turn(victims), kills):
                await asyncio.sleep(seconds / kills * random.uniform(0.5, 1.5))
                await house.kill(victim)
            last_kill = time.monotonic()
        superuser = await house.superuser()
        while (unfinished := await contender.unfinished(superuser)) and time.monotonic() - last_kill <= patience:
            await asyncio.sleep(0.2)
        drained_after = time.monotonic() - last_kill
        report = ledger.compare(
            forgotten=await contender.forgotten(),
            happened=await contender.happened(superuser),
            dead_letters=await superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status = 'dead'"),
            repeated_calls=await contender.repeated_calls(superuser),
            killed=dict(house.killed),
            drained_after=round(drained_after, 1),
            unfinished=unfinished,
        )
        await superuser.close()
        await contender.close()
        return report


@asynccontextmanager
async def _orchestrated(house: House) -> AsyncIterator[None]:
    """Whatever dies is started again."""

    async def orchestrate() -> None:
        while True:
            house.keep_running()
            await asyncio.sleep(0.1)

    orchestrating = asyncio.create_task(orchestrate())
    try:
        yield
    finally:
        orchestrating.cancel()
        with suppress(asyncio.CancelledError):
            await orchestrating


@asynccontextmanager
async def _asking(ledger: Ledger) -> AsyncIterator[None]:
    """Clients ask until the end of the block, and each waits for its last answer."""
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            await ledger.ask()
            await asyncio.sleep(random.uniform(0, 2 * _CLIENT_PAUSE))

    async with asyncio.TaskGroup() as clients:
        for _ in range(_CLIENTS):
            clients.create_task(client())
        yield
        over.set()


def _in_turn(victims: tuple[str, ...]) -> Iterator[str]:
    """All of them in a random order, again and again: a short run kills one of each as well."""
    while True:
        yield from random.sample(victims, len(victims))
