"""Where the time of a page goes: requests that do ever more of what a page does, in alternating rounds."""

import statistics

from insula.core.ids import to_uuid
from tests.benchmarks.harness import FEW, Answer, Bench, Call, compare, plant, repeated, two_owners
from tests.factories import Member


async def run(bench: Bench, scale: int) -> bool:
    owners = await two_owners(bench)
    for owner in owners:
        await plant(bench.world.superuser, owner.organization_id, 1000)
    calls = {
        "the framework: a route of nothing": bench.requester(owners, "GET", "/twin/nothing"),
        "the driver: BEGIN, door, COMMIT": exchanging(bench, owners),
        "both, and guard and limits": bench.requester(owners, "GET", "/twin/entered"),
        "with a page of 20": bench.requester(owners, "GET", "/projects"),
    }
    measured = await compare(calls, rounds=repeated(30, scale), size=100 if scale else FEW)
    print(f"\nWhere the time of a page goes, us of our process\n  {'':<36}{'us/call':>10}{'CPU us':>10}")
    for name, samples in measured.items():
        wall, cpu = (statistics.median(values) for values in zip(*samples, strict=True))
        print(f"  {name:<36}{wall:>10.0f}{cpu:>10.0f}")
    return True


def exchanging(bench: Bench, members: list[Member]) -> Call:
    """A transaction that the door lets in, without a request around it."""
    database = bench.state.databases.rw
    shown = [(bench.world.digest(each.person.token), to_uuid("org", each.organization_id)) for each in members]

    async def call(worker: int) -> Answer:
        async with database.transaction(read_only=True) as transaction:
            await transaction.driver.fetchrow("SELECT * FROM app.enter($1, $2)", *shown[worker % len(shown)])
            await transaction.commit()
        return Answer(204)

    return call
