"""How many jobs one and two worker processes do, what a job costs each kind of process, and what is used up first."""

import asyncio
import time
from collections import Counter
from typing import Final

import asyncpg
import msgspec
import psutil

from insula.core.ids import new_id, to_uuid
from insula.core.pace import BURST_SECONDS
from insula.features.invitations.schemas import SendInvitation
from insula.settings import Settings
from tests.factories import Member, World
from tests.scale.estate import Estate
from tests.scale.load import cpu_seconds, used_up

WORKERS: Final = (1, 2)
TENANTS: Final = 200
JOBS: Final = 20_000
LETTERS: Final = 4_000
"""A fifth: each takes several times as long."""
_IN_ONE_REQUEST: Final = 100
_WARM: Final = 0.05
"""Of the jobs are done before anything is measured: plans are made, connections opened."""
_LOOK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 1800
_QUEUE: Final = """
INSERT INTO app.outbox (id, tenant_id, user_id, lane, queue, task, payload)
SELECT gen_random_uuid(), tenant, person, tenant, $4, $5, jsonb_build_object('invitation_id', $6::text, 'sending', 1)
  FROM unnest($1::uuid[], $2::uuid[]) AS them (tenant, person), generate_series(1, $3)
"""
_LEFT: Final = "SELECT EXISTS (SELECT FROM app.outbox WHERE status IN ('waiting', 'due', 'leased'))"
_DONE: Final = "SELECT count(*) FROM app.outbox WHERE status = 'done'"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of some jobs."""

    workers: int
    jobs: int
    """That were measured: all but the first."""
    seconds: float
    spent: Counter[str]
    """CPU seconds of each kind of process."""
    others: float
    """CPU seconds of what else this machine did: a measurement beside other work says little."""
    letters: int
    """That came, of all."""

    def __str__(self) -> str:
        costs = ", ".join(f"{kind} {used / self.jobs * 1000:.2f}" for kind, used in self.spent.most_common())
        shares = {
            "each worker process": self.spent["worker"] / self.workers / self.seconds,
            "Redis, its sentinels and its proxy": self.spent["redis"] / self.seconds,
            "the process of the mail server": self.spent["clients"] / self.seconds,
        }
        return (
            f"{self.jobs / self.seconds:6.0f} jobs/s in {self.seconds:.1f} s; CPU ms a job: {costs}\n"
            f"    {used_up(self.spent, self.seconds, shares)};"
            f" what else this machine did took {self.others / self.seconds:.2f} of a CPU"
        )


async def run(scale: int) -> bool:
    """Print two lines for each number of processes: of jobs that find nothing to do, and of letters."""
    print(f"\nJobs of {TENANTS * scale} tenants, all queued before a worker starts; {_settings_told()}")
    for workers in WORKERS:
        for kind, jobs in (("find nothing", JOBS), ("send a letter", LETTERS)):
            figures = await measured(workers, TENANTS * scale, jobs * scale, letters=kind == "send a letter")
            name = f"{workers} worker process{'es' if workers > 1 else ''}, {jobs * scale:,} jobs that {kind}"
            print(f"  {name:<52}{figures}", flush=True)
    return True


async def measured(workers: int, tenants: int, jobs: int, *, letters: bool) -> Figures:
    """So many worker processes do so many jobs. Raises AssertionError where one of them is not done once."""
    async with Estate(apis=1, workers=workers) as estate:
        for place in estate.fleet.workers:
            await place.stop()
        superuser = await estate.superuser()
        world = World(None, estate.settings, superuser)
        owners = [await world.owner() for _ in range(tenants)]
        _require_out_of_the_way(estate.settings, jobs // tenants)
        await (_invite(estate, owners, jobs) if letters else _queue(superuser, owners, jobs))
        await superuser.execute("VACUUM ANALYZE", timeout=600)
        figures = await _done(estate, superuser, jobs)
        assert await superuser.fetchval(_DONE) == jobs
        await superuser.close()
    assert figures.letters == jobs * letters
    return figures


def _require_out_of_the_way(settings: Settings, each: int) -> None:
    """No tenant has more jobs than may come at once: what is measured is not its pace."""
    assert each <= BURST_SECONDS * settings.rate_jobs_per_minute / 60, f"{each} jobs a tenant meet their pace"


def _settings_told() -> str:
    default = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    names = ("worker_concurrency", "relay_in_flight", "rate_jobs_per_minute")
    return ", ".join(f"INSULA_{name.upper()}={default[name]}" for name in names) + " (the defaults)"


async def _queue(superuser: asyncpg.Connection, owners: list[Member], jobs: int) -> None:
    """Letters of an invitation that is not there."""
    tenants = [to_uuid("org", owner.organization_id) for owner in owners]
    people = [to_uuid("usr", owner.person.id) for owner in owners]
    each, task = jobs // len(owners), SendInvitation
    await superuser.execute(_QUEUE, tenants, people, each, task.QUEUE, task.NAME, new_id("inv"), timeout=600)


async def _invite(estate: Estate, owners: list[Member], jobs: int) -> None:
    async with estate.client() as client:
        for owner in owners:
            for begun in range(0, jobs // len(owners), _IN_ONE_REQUEST):
                numbers = range(begun, min(begun + _IN_ONE_REQUEST, jobs // len(owners)))
                addresses = [f"guest{number}.{owner.organization_id}@example.com" for number in numbers]
                body = {"invitations": [{"email": address, "role": "member"} for address in addresses]}
                headers = {"authorization": f"Bearer {owner.person.token}"}
                answer = await client.post(owner.url("/invitations/batch"), json=body, headers=headers)
                assert answer.status_code == 201, answer.text


async def _done(estate: Estate, superuser: asyncpg.Connection, jobs: int) -> Figures:
    """Start the workers, and measure from when they are at it to the last job's end."""
    for place in estate.fleet.workers:
        place.start()
    for place in estate.fleet.workers:
        await place.ready()
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while (before := await superuser.fetchval(_DONE)) < jobs * _WARM:
            await asyncio.sleep(_LOOK_SECONDS)
        began, spent, busy = time.monotonic(), cpu_seconds(estate), _busy_seconds()
        while await superuser.fetchval(_LEFT):
            await asyncio.sleep(_LOOK_SECONDS)
    seconds, used = time.monotonic() - began, cpu_seconds(estate)
    used.subtract(spent)
    others = _busy_seconds() - busy - used.total()
    return Figures(
        workers=len(estate.fleet.workers),
        jobs=jobs - before,
        seconds=seconds,
        spent=used,
        others=max(0.0, others),
        letters=sum(len(letters) for letters in estate.postbox.letters.values()),
    )


def _busy_seconds() -> float:
    """What all CPUs have worked until now, for whomever."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)
