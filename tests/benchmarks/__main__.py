"""`./insula python -m tests.benchmarks`: ours and its twins in one alternating run, as ratios."""

import argparse
import itertools
import json
import sys

import uvloop

from tests.benchmarks import database, footprint, layers, storm
from tests.benchmarks.harness import (
    FEW,
    Bench,
    Call,
    compare,
    plant,
    prepare,
    repeated,
    report,
    running,
    servers,
    two_owners,
)


async def page(bench: Bench, scale: int) -> bool:
    owners = await two_owners(bench)
    for owner in owners:
        await plant(bench.world.superuser, owner.organization_id, 1000)
    calls = {
        "ours": bench.requester(owners, "GET", "/projects"),
        "asyncpg twin": bench.requester(owners, "GET", "/twin/asyncpg"),
        "service twin": bench.requester(owners, "POST", "/twin/service"),
    }
    await require_twins(calls)
    measured = await compare(calls, rounds=repeated(100, scale), size=100 if scale else FEW)
    return report("Page of 20 projects, whole stack", measured, {"asyncpg twin": 0.9, "service twin": 2.5})


async def create(bench: Bench, scale: int) -> bool:
    owners = await two_owners(bench)
    number = itertools.count()

    def body() -> dict[str, str]:
        return {"name": "A project", "key": f"K{next(number)}"}

    measured = await compare(
        {
            "ours": bench.requester(owners, "POST", "/twin/ours", body, key="idempotency-key"),
            "orm twin": bench.requester(owners, "POST", "/twin/orm", body, key="idempotency-key"),
        },
        rounds=repeated(100, scale),
        size=50 if scale else FEW,
    )
    return report("Create with event, job and stored answer", measured, {"orm twin": 2.0})


async def require_twins(calls: dict[str, Call]) -> None:
    """The hand-written twin answers with the same bytes, the service twin with the same fields."""
    ours, by_hand, by_service = [await call(0) for call in calls.values()]
    assert ours.body == by_hand.body
    assert len(ours.body) > 1000
    assert ours.headers[b"link"] == by_hand.headers[b"link"].replace(b"/twin/asyncpg", b"/projects")
    shown, served = json.loads(ours.body)["data"], json.loads(by_service.body)["data"]
    assert [[*row.values()] for row in shown] == [[*row.values()] for row in served]


PARTS = {
    "page": page,
    "create": create,
    "layers": layers.run,
    "database": database.run,
    "storm": storm.run,
    "footprint": footprint.run,
}


async def main(only: list[str], scale: int, admin: str, redis: str) -> bool:
    await prepare(admin)
    met = True
    async with running(admin, redis) as bench:
        for name, run in PARTS.items():
            if not only or name in only:
                met &= await run(bench, scale)
    return met or not scale


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all when none is named")
    parser.add_argument("--scale", type=int, default=1, help="how many times as long to measure; 0 only runs each")
    options = parser.parse_args()
    postgres, valkey = servers()
    with postgres, valkey:
        sys.exit(0 if uvloop.run(main(options.only, options.scale, postgres.dsn(), valkey.url)) else 1)
