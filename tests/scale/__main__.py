"""`./insula python -m tests.scale`: the installation at its limits, and what is left of it after kills."""

import argparse
import sys
from collections.abc import Awaitable, Callable

import uvloop

from tests.scale import jobs, kills, noise, throughput
from tests.scale.estate import Estate


async def kill(scale: int) -> bool:
    """Every kind of process is killed; nothing acknowledged is lost, nothing done twice."""
    print("\nKilled -9 in turn, under load")
    async with Estate(apis=3, workers=2) as estate:
        told = await kills.killing(estate, rounds=scale, per_second=25)
    report = told.report
    print(
        f"  acknowledged {report.acknowledged}, with {report.promises} effects; found {report.promises - report.lost}"
    )
    print(f"  {told}")
    return bool(told.failovers) and not report.broken()


async def control(scale: int) -> bool:
    """The same without the protections: it has to fail."""
    print("\nThe control: no keys, and a proxy that sends again whatever got no answer")
    for _ in range(10 * scale):
        async with Estate(apis=3, workers=2, change=kills.careless) as estate:
            told = await kills.killing(estate, rounds=3, per_second=60, kinds=("api", "haproxy"), keys=False)
        if twice := told.report.done_twice():
            print(f"  found: {twice[:3]}")
            return True
    print("  found nothing: the count proves nothing")
    return False


PARTS: dict[str, Callable[[int], Awaitable[bool]]] = {
    "kill": kill,
    "control": control,
    "throughput": throughput.run,
    "jobs": jobs.run,
    "noise": noise.run,
}


async def main(only: list[str], scale: int) -> bool:
    met = True
    for name, run in PARTS.items():
        if not only or name in only:
            met &= await run(scale)
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all when none is named")
    parser.add_argument("--scale", type=int, default=1, help="how many times as long")
    options = parser.parse_args()
    sys.exit(0 if uvloop.run(main(options.only, options.scale)) else 1)
