"""`./insula python -m tests.benchmarks`: ours and its twins in one alternating run, as ratios."""

import argparse
import asyncio
import itertools
import sys

import uvloop

from tests.benchmarks import database, footprint, storm
from tests.benchmarks.harness import Bench, compare, plant, prepare, report, running, servers


async def page(bench: Bench, scale: int) -> bool:
    owner = await bench.world.owner()
    await plant(bench.world.superuser, owner.organization_id, 1000)
    measured = await compare(
        {
            "ours": bench.requester(owner, "GET", "/projects"),
            "asyncpg twin": bench.requester(owner, "GET", "/twin/asyncpg"),
            "service twin": bench.requester(owner, "POST", "/twin/service"),
        },
        rounds=5 * scale, size=200,
    )
    return report("Page of 20 projects, whole stack", measured, "ours", {"asyncpg twin": 0.9, "service twin": 2.5})


async def create(bench: Bench, scale: int) -> bool:
    owner = await bench.world.owner()
    number = itertools.count()

    def body() -> dict[str, str]:
        return {"name": "A project", "key": f"K{next(number)}"}

    measured = await compare(
        {
            "ours": bench.requester(owner, "POST", "/projects", body, keyed=True),
            "orm twin": bench.requester(owner, "POST", "/twin/orm", body),
        },
        rounds=5 * scale, size=100,
    )
    return report("Create with event and stored answer", measured, "ours", {"orm twin": 2.0})


async def main(only: list[str], scale: int, admin: str, redis: str) -> bool:
    await prepare(admin)
    met = True
    async with running(admin, redis, "") as bench:
        for name, run in (("page", page), ("create", create), ("database", database.run), ("storm", storm.run)):
            if not only or name in only:
                met &= await run(bench, scale)
    if not only or "footprint" in only:
        met &= footprint.run()
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="page, create, database, storm, footprint; all when none is named")
    parser.add_argument("--scale", type=int, default=1, help="how many times as long to measure")
    options = parser.parse_args()
    postgres, valkey = servers()
    with postgres, valkey:
        sys.exit(0 if uvloop.run(main(options.only, options.scale, postgres.dsn(), valkey.url)) else 1)
