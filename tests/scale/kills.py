"""Each kind of process is killed -9 in turn while clients read and write; then what was acknowledged is looked for."""

import asyncio
import re
import time
from collections import Counter
from typing import Final

import msgspec

from tests.chaos.ledger import Ledger, Report
from tests.factories import World
from tests.scale.clients import Insistent
from tests.scale.estate import Estate, Mortal

TENANTS: Final = 4
_AWAY_SECONDS: Final = {"redis master": 4.0}
"""Half a second is what the rest is away; sentinels need two to find that a master is gone, and then choose another."""
_BETWEEN_SECONDS: Final = 1.0
_MAIN_THREAD: Final = "postgres"
"""What starts in the main thread only: it dies with who started it."""


class Told(msgspec.Struct):
    """How a run went, beside its report."""

    report: Report
    failovers: int
    """How often the sentinels chose another Redis node."""
    whole_after: dict[str, float]
    """Of each kind: seconds from its death until everything works again."""
    repeated: int
    """Requests that clients sent again."""
    slowest: float
    """Seconds, from the first time it was sent to its answer."""


async def killing(
    estate: Estate, *, rounds: int, per_second: float, kinds: tuple[str, ...] = (), keys: bool = True
) -> Told:
    """Kill one of each kind, so many times; ``kinds`` names some of them."""
    superuser = await estate.superuser()
    world = World(None, estate.settings, superuser)
    owners = [await world.owner() for _ in range(TENANTS)]
    killed: Counter[str] = Counter()
    whole_after: dict[str, float] = {}
    async with estate.client() as client:
        clients = Insistent(client, owners, estate.postbox, keys=keys)
        ledger = Ledger(clients)
        async with clients.asking(ledger, per_second=per_second):
            await asyncio.sleep(_BETWEEN_SECONDS)
            for kind in [kind for _ in range(rounds) for kind in estate.mortals() if not kinds or kind in kinds]:
                killed[kind] += 1
                began = time.monotonic()
                await _kill(kind, estate.mortals()[kind])
                await estate.whole()
                whole_after[kind] = round(max(whole_after.get(kind, 0), time.monotonic() - began), 1)
                print(f"  killed {kind:<14} all works again after {whole_after[kind]:.1f} s", flush=True)
                await asyncio.sleep(_BETWEEN_SECONDS)
    await superuser.close()
    superuser = await estate.superuser()  # the first one died with its server
    drained_after = await clients.settle(superuser)
    report = ledger.compare(
        forgotten=0,
        happened=await clients.happened(superuser),
        dead_letters=await superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status = 'dead'"),
        repeated_calls=0,
        killed=dict(killed),
        drained_after=round(drained_after, 1),
    )
    await superuser.close()
    return Told(report, estate.redis.failovers(), whole_after, clients.repeated, round(clients.slowest, 2))


async def _kill(kind: str, mortal: Mortal) -> None:
    mortal.end()
    await asyncio.sleep(_AWAY_SECONDS.get(kind, 0.5))
    if kind == _MAIN_THREAD:
        mortal.start()
    else:
        await asyncio.to_thread(mortal.start)


def careless(configuration: str) -> str:
    """HAProxy's file without what protects requests: whatever got no answer is sent again, key or not."""
    configuration = re.sub(r"(?m)^    http-request disable-l7-retry .*\n", "", configuration)
    return configuration.replace("retry-on conn-failure empty-response", "retry-on all-retryable-errors")
