"""How many requests one, two and four API processes answer, and which kind of process costs what."""

import statistics
from typing import Final

from tests.benchmarks.harness import plant
from tests.factories import World
from tests.scale.estate import Estate
from tests.scale.load import Load, cpu_seconds, used_up

_SECONDS: Final = 8.0
_TENANTS: Final = 16
_CLIENTS: Final = 32


async def run(scale: int) -> bool:
    """Print a line for each number of processes, and what is used up first."""
    print(f"\nRequests a second, {_CLIENTS} clients of {_TENANTS} tenants: pages 7, single reads 2, creates 1")
    for apis in (1, 2, 4):
        async with Estate(apis=apis, workers=1, change=_for_all_one_asks) as estate:
            await _measure(estate, _SECONDS * scale)
    return True


def _for_all_one_asks(configuration: str) -> str:
    """HAProxy's file, which lets nobody ask as much as this."""
    assert "gt 400 }" in configuration
    return configuration.replace("gt 400 }", "gt 4000000 }")


async def _measure(estate: Estate, seconds: float) -> None:
    superuser = await estate.superuser()
    world = World(None, estate.settings, superuser)
    members = [await world.owner() for _ in range(_TENANTS)]
    for member in members:
        await plant(superuser, member.organization_id, 200)
    await superuser.close()
    await Load.on(estate, members).run(2, clients=_CLIENTS)  # plans are made, connections opened
    load, before = Load.on(estate, members), cpu_seconds(estate)
    await load.run(seconds, clients=_CLIENTS)
    spent = cpu_seconds(estate)
    spent.subtract(before)
    answered = load.statuses[200] + load.statuses[201]
    assert answered == load.statuses.total(), load.statuses
    p99 = statistics.quantiles(load.took, n=100)[98]
    apis = len(estate.fleet.apis)
    print(f"  {apis} API process{'es' if apis > 1 else '':<3} {answered / seconds:6.0f}/s, p99 {p99:.0f} ms;", end=" ")
    print("CPU ms a request:", ", ".join(f"{kind} {used / answered * 1000:.2f}" for kind, used in spent.most_common()))
    shares = {"each API process": spent["api"] / apis / seconds, "the clients' process": spent["clients"] / seconds}
    print(f"    {used_up(spent, seconds, shares)}", flush=True)
