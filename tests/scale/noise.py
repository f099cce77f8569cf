"""What a tenant far beyond its limit, or with a flood of jobs, costs the others."""

import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import httpx
import uvloop

from insula.core.ids import new_id, to_uuid
from tests.benchmarks.harness import plant
from tests.factories import Member, World
from tests.scale.estate import Estate
from tests.scale.load import Load

_SECONDS: Final = 60.0
_QUIET: Final = 4
_QUIET_PER_SECOND: Final = 20.0
_LIMIT: Final = 600
"""Requests a minute of an organization."""
_TIMES: Final = 50
_CROWD: Final = 20
"""Members, each of whom stays below what the proxy allows one credential."""
_FLOOD: Final = 1_000_000
"""Jobs."""
_BATCH: Final = 10_000
"""Of them asked for in one transaction."""
_GOAL: Final = 2.0
_QUEUE: Final = """
INSERT INTO app.outbox (id, tenant_id, user_id, lane, queue, task, payload)
SELECT gen_random_uuid(), $1, $2, $1, 'bulk', 'invitations.send_invitation', jsonb_build_object('invitation_id', $3::text, 'sending', 1)
  FROM generate_series(1, $4)
"""
_SPAWN: Final = multiprocessing.get_context("spawn")


async def run(scale: int) -> bool:
    """The others' p99, of requests and of jobs, beside that of an idle installation."""
    async with Estate(apis=2, workers=1, rate_organization_per_minute=_LIMIT) as estate:
        superuser = await estate.superuser()
        world = World(None, estate.settings, superuser)
        quiet = [await world.owner() for _ in range(_QUIET)]
        noisy = await world.owner()
        crowd = [await world.member(noisy.organization_id, "member") for _ in range(_CROWD)]
        for member in (*quiet, noisy):
            await plant(superuser, member.organization_id, 200)
        others = _Others(estate, quiet)
        await others.measure(5)  # plans are made, connections opened
        idle = await others.measure(_SECONDS * scale)
        print(f"\nWhat {_QUIET} quiet tenants notice\n  idle{'':<40}{idle}", flush=True)
        async with _noise(estate, [noisy]):
            limited = await others.measure(_SECONDS * scale)
        print(f"  one tenant at {_TIMES} times its limit{'':<14}{limited}", flush=True)
        async with _noise(estate, crowd):
            crowded = await others.measure(_SECONDS * scale)
        print(f"  the same, by {_CROWD} of its members{'':<16}{crowded}", flush=True)
        await _flood(superuser, noisy, _FLOOD)
        flooded = await others.measure(_SECONDS * scale)
        left = await superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status IN ('due', 'leased')")
        print(f"  {_FLOOD:,} jobs of one tenant ({left:,} left){'':<6}{flooded}", flush=True)
        await superuser.close()
    assert left, "the flood ended before the measurement did"
    worst = max(seen.requests / idle.requests for seen in (limited, crowded, flooded))
    jobs = max(seen.jobs / idle.jobs for seen in (limited, crowded, flooded))
    print(f"  p99 of requests at most {worst:.2f}x idle, of jobs {jobs:.2f}x (goal {_GOAL}x)")
    return worst <= _GOAL and jobs <= _GOAL


class _Seen:
    """Milliseconds of requests, and from an invitation to its letter."""

    def __init__(self, requests: list[float], jobs: list[float]) -> None:
        self.requests, self.jobs = (statistics.quantiles(found, n=100)[98] for found in (requests, jobs))
        self._text = (
            f"requests {statistics.median(requests):.1f} ms, p99 {self.requests:.1f};"
            f" letters {statistics.median(jobs):.0f} ms, p99 {self.jobs:.0f} ({len(requests)}, {len(jobs)})"
        )

    def __str__(self) -> str:
        return self._text


class _Others:
    """Tenants that stay within their limits."""

    def __init__(self, estate: Estate, members: list[Member]) -> None:
        self._estate, self._members = estate, members
        self._invited = 0

    async def measure(self, seconds: float) -> _Seen:
        load = Load.on(self._estate, self._members)
        letters: list[float] = []
        async with self._estate.client() as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run(seconds, clients=8, per_second=_QUIET_PER_SECOND))
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                tasks.create_task(self._letter(client, letters))
                await asyncio.sleep(0.25)
        assert load.statuses.keys() <= {200, 201}, load.statuses
        return _Seen(load.took, letters)

    async def _letter(self, client: httpx.AsyncClient, took: list[float]) -> None:
        self._invited += 1
        member, address = self._members[self._invited % _QUIET], f"guest-{self._invited}@example.com"
        began = time.perf_counter()
        headers = {"authorization": f"Bearer {member.person.token}"}
        body = {"email": address, "role": "member"}
        answer = await client.post(member.url("/invitations"), json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        async with asyncio.timeout(60):
            while address not in self._estate.postbox.letters:
                await asyncio.sleep(0.005)
        took.append((time.perf_counter() - began) * 1000)


@asynccontextmanager
async def _noise(estate: Estate, members: list[Member]) -> AsyncIterator[None]:
    """One tenant asks at many times its limit, from a process of its own."""
    process = _SPAWN.Process(target=_make_noise, args=(Load.on(estate, members), _LIMIT / 60 * _TIMES))
    process.start()
    try:
        await _used_up(estate, members[0])
        assert process.is_alive()
        yield
        assert process.is_alive()
    finally:
        process.kill()
        process.join()


async def _used_up(estate: Estate, member: Member) -> None:
    """What one may ask at once, everybody may: it is no noise."""
    shown = {"authorization": f"Bearer {member.person.token}"}
    async with asyncio.timeout(60), estate.client() as client:
        while (await client.get(member.url("/projects"), headers=shown)).status_code != 429:
            await asyncio.sleep(0.5)
    await asyncio.sleep(2)  # what was on its way is answered


def _make_noise(load: Load, per_second: float) -> None:
    os.nice(19)  # who sends it is elsewhere, and takes no CPU of ours
    uvloop.run(load.run(3600, clients=50, per_second=per_second))


async def _flood(superuser: asyncpg.Connection, member: Member, jobs: int) -> None:
    """Jobs that find nothing to do: what is measured is how they are handed out, once they are there.

    The table is vacuumed, as it would be by itself a minute later.
    """
    tenant, user = to_uuid("org", member.organization_id), to_uuid("usr", member.person.id)
    for begun in range(0, jobs, _BATCH):
        await superuser.execute(_QUEUE, tenant, user, new_id("inv"), min(_BATCH, jobs - begun), timeout=600)
    await superuser.execute("VACUUM ANALYZE app.outbox", timeout=600)
