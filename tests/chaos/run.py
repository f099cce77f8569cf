"""One run of chaos: clients ask, everything is killed, and then the promises are counted."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from tests.chaos.contenders import AWAY, Contender
from tests.chaos.house import House
from tests.chaos.tasks import promised

ALL: Final = ("worker", "worker", "worker", "redis", "postgres")
"""What is killed, the likeliest most often."""
DRAIN_SECONDS: Final = 60
WORKERS: Final = 3
_CLIENTS: Final = 3
_CLIENT_PAUSE: Final = 0.02


class Report(msgspec.Struct, kw_only=True):
    """What was promised and what came of it."""

    promises: int
    doubtful: int
    """Requests whose answer was lost: they may have happened, once."""
    lost: int
    twice: int
    unpromised: int
    dead_letters: int
    repeated_calls: int
    """Calls to the outside that a crash repeated, under the same key: allowed, and told."""
    killed: dict[str, int]
    drained_after: float

    def broken(self) -> list[str]:
        """Every promise that was not kept."""
        wrong = {name: getattr(self, name) for name in ("lost", "twice", "unpromised", "dead_letters")}
        found = [f"{count} {name}" for name, count in wrong.items() if count]
        if self.drained_after > DRAIN_SECONDS:
            found.append(f"not drained within {DRAIN_SECONDS} s")
        return found


class Ledger:
    """What clients were promised, and what they were left in doubt about."""

    def __init__(self) -> None:
        self.promised: set[str] = set()
        self.doubtful: set[str] = set()
        self._asked = 0

    async def ask(self, contender: Contender) -> None:
        """One request, noted by how it ended."""
        self._asked += 1
        number, key = self._asked, f"effect-{self._asked}"
        try:
            await contender.ask(number, key)
        except AWAY:
            self.doubtful |= promised(number, key)
        else:
            self.promised |= promised(number, key)


async def run(
    contender: Contender, *, kills: int, seconds: float, victims: tuple[str, ...] = ALL, patience: float = DRAIN_SECONDS
) -> Report:
    """Kill ``kills`` times within ``seconds`` while clients ask, let everything come to rest, and count."""
    async with House(contender.work, WORKERS) as house:
        superuser = await house.superuser()
        await contender.open(house.settings, superuser)
        await superuser.close()
        ledger = Ledger()
        async with _going(house, contender, ledger):
            for _ in range(kills):
                await asyncio.sleep(seconds / kills * random.uniform(0.5, 1.5))
                await house.kill_something(victims)
        drained_after = await _drained(house, contender, patience)
        await contender.close()
        return await _counted(house, ledger, drained_after)


@asynccontextmanager
async def _going(house: House, contender: Contender, ledger: Ledger) -> AsyncIterator[None]:
    """Clients ask and workers are restarted, until everything was killed often enough."""
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            await ledger.ask(contender)
            await asyncio.sleep(random.uniform(0, 2 * _CLIENT_PAUSE))

    async def orchestrate() -> None:
        while not over.is_set():
            house.keep_running()
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(orchestrate())
        for _ in range(_CLIENTS):
            tasks.create_task(client())
        yield
        over.set()


async def _drained(house: House, contender: Contender, patience: float) -> float:
    """How long it takes until nothing is left to do; not waited for longer than ``patience``."""
    began = time.monotonic()
    superuser = await house.superuser()
    try:
        while await contender.unfinished(superuser) and time.monotonic() - began <= patience:
            house.keep_running()
            await asyncio.sleep(0.2)
    finally:
        await superuser.close()
    return time.monotonic() - began


async def _counted(house: House, ledger: Ledger, drained_after: float) -> Report:
    superuser = await house.superuser()
    try:
        effects = Counter(row["key"] for row in await superuser.fetch("SELECT key FROM app.chaos_effect"))
        calls = Counter(row["job_id"] for row in await superuser.fetch("SELECT job_id FROM app.chaos_call"))
        dead = await superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status = 'dead'")
    finally:
        await superuser.close()
    return Report(
        promises=len(ledger.promised),
        doubtful=len(ledger.doubtful),
        lost=len(ledger.promised - effects.keys()),
        twice=sum(1 for count in effects.values() if count > 1),
        unpromised=len(effects.keys() - ledger.promised - ledger.doubtful),
        dead_letters=dead,
        repeated_calls=sum(count - 1 for count in calls.values()),
        killed=dict(house.killed),
        drained_after=round(drained_after, 1),
    )
