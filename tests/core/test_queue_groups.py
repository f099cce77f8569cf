"""Groups of workers: each serves queues of its own, over a Redis of its own where it has one; what kills one leaves the
others alone."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path

import msgspec
import pytest
import uvloop

from insula.core.db import Transaction
from insula.core.feature import Feature, queues_of
from insula.core.jobs import JobContext
from insula.core.logs import configure_logs
from insula.core.relay import Relay
from insula.embedded import EmbeddedValkey
from insula.product import FEATURES
from insula.settings import Settings, SettingsError, load, variables
from insula.worker import create_worker
from tests.chaos.contenders import stop_with_parent
from tests.core.test_worker import ends_as, settings_on
from tests.core.workbench import ACME, Note, Parcel, Workbench, leave_effect

PARCELS = 120
LEASE_SECONDS = 5


async def carry(db: Transaction, task: Parcel, context: JobContext) -> None:
    await asyncio.sleep(0.05)
    await leave_effect(db, task, context)


FEATURE = Feature(name="test", handlers={Note: leave_effect, Parcel: carry})


def work(settings: Settings) -> None:
    """The whole life of a worker process."""
    configure_logs("critical", json=True)

    async def run() -> None:
        stop_with_parent()
        await create_worker(settings, (FEATURE,)).run()

    uvloop.run(run())


class Group:
    """A worker process, and a Redis that nobody else knows."""

    def __init__(self, bench: Workbench, folder: Path, queue: str) -> None:
        folder.mkdir()
        self._valkey = EmbeddedValkey(folder, settings={"appendonly": "no"})
        self._settings = lambda: settings_on(
            bench,
            redis_url=self._valkey.url,
            worker_queues=queue,
            job_lease_seconds=LEASE_SECONDS,
            worker_concurrency=4,
        )
        self._process: SpawnProcess | None = None

    def start(self) -> None:
        self._valkey.start()
        self._process = multiprocessing.get_context("spawn").Process(target=work, args=(self._settings(),))
        self._process.start()

    def kill(self) -> None:
        """Both, with nothing saved."""
        assert self._process is not None
        self._process.kill()
        self._process.join()
        valkey = self._valkey._process
        assert valkey is not None
        os.kill(valkey.pid, signal.SIGKILL)
        self._valkey.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.join(20)
        self._valkey.stop()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[None]:
    """A worker of this process."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(create_worker(settings, (FEATURE,)).serve(stopping))
        yield
        stopping.set()


async def until(done: Callable[[Counter[str]], bool], bench: Workbench, seconds: float = 40) -> None:
    """Wait for what the rows of parcels, counted by status, must become."""
    async with asyncio.timeout(seconds):
        while True:
            rows = await bench.superuser.fetch(
                "SELECT status, count(*) FROM app.outbox WHERE queue = 'bulk' GROUP BY status"
            )
            if done(Counter(dict(rows))):
                return
            await asyncio.sleep(0.02)


async def slowest_note(bench: Workbench, count: int) -> float:
    """The longest that one of so many notes, asked for one after the other, took."""
    slowest = 0.0
    for _ in range(count):
        began = time.monotonic()
        (job_id,) = await bench.ask(Note())
        await ends_as(bench, job_id, "done")
        slowest = max(slowest, time.monotonic() - began)
    return slowest


async def test_what_kills_one_group_leaves_the_other_unharmed_and_loses_nothing(
    bench: Workbench, tmp_path: Path
) -> None:
    group = Group(bench, tmp_path / "bulk", "bulk")
    try:
        group.start()
        async with serving(settings_on(bench, worker_queues="default", job_lease_seconds=LEASE_SECONDS)):
            parcels = await bench.ask(*(Parcel() for _ in range(PARCELS)))
            await until(lambda found: found["done"] >= 10, bench)
            group.kill()
            # Longer than leases last: those of the dead are taken back by the group that lives, which does not run them.
            killed = time.monotonic()
            while time.monotonic() - killed < LEASE_SECONDS + 2:
                assert await slowest_note(bench, 3) < 2
            await until(lambda found: found["leased"] == 0 and found["done"] < PARCELS, bench, 5)
            group.start()
            await until(lambda found: found["done"] == PARCELS, bench)
        done = Counter(effect["job_id"] for effect in await bench.effects())
        assert {job: done[job] for job in parcels} == dict.fromkeys(parcels, 1)
    finally:
        group.stop()


async def test_each_group_runs_what_is_its_own_and_a_worker_that_names_no_queue_runs_all(
    bench: Workbench, tmp_path: Path
) -> None:
    async with serving(settings_on(bench, worker_queues="default")):
        note, parcel = await bench.ask(Note(), Parcel())
        await ends_as(bench, note, "done")
        await asyncio.sleep(1)
        row = await bench.row(parcel)
        assert (row["status"], row["attempt"]) == ("due", 0)
    async with serving(settings_on(bench, worker_queues="bulk")):
        await ends_as(bench, parcel, "done")
        (note,) = await bench.ask(Note())
        await asyncio.sleep(1)
        assert (await bench.row(note))["status"] == "due"
    async with serving(settings_on(bench)):
        (parcel,) = await bench.ask(Parcel())
        await ends_as(bench, note, "done")
        await ends_as(bench, parcel, "done")


async def test_a_flood_of_one_queue_does_not_delay_another(bench: Workbench) -> None:
    """Nor where one process serves both: each has its own room, its own list, and its turn at both ends."""
    await bench.flood(ACME, 5_000, Parcel)
    async with serving(settings_on(bench, relay_in_flight=20, worker_concurrency=5, rate_jobs_per_minute=60_000)):
        await until(lambda found: found["done"] >= 5, bench)
        assert await slowest_note(bench, 10) < 1
        await until(lambda found: found["due"] > 4_000, bench, 1)


async def test_while_the_list_of_one_queue_is_full_another_is_not_asked_more_often(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    look = Relay.hand_out

    async def counted(relay: Relay) -> float:
        asked[relay._name] += 1
        return await look(relay)

    monkeypatch.setattr(Relay, "hand_out", counted)
    await bench.flood(ACME, 2_000, Parcel)
    async with serving(settings_on(bench, worker_concurrency=2, rate_jobs_per_minute=60_000)):
        await until(lambda found: found["done"] >= 5, bench)
        asked.clear()
        await asyncio.sleep(2)
        # Ten times by itself, and a few times more for what other tests left there; the other some 190 times.
        assert 2 <= asked["default"] < asked["bulk"] / 4


@pytest.mark.parametrize("wanted", ["mail", "default,mail", "", "default,", "Default"])
def test_a_worker_that_is_to_serve_what_no_task_names_does_not_start(bench: Workbench, wanted: str) -> None:
    strange = repr(wanted.split(",")[-1])
    with pytest.raises(SettingsError) as refused:
        create_worker(settings_on(bench, worker_queues=wanted), (FEATURE,))
    assert str(refused.value) == f"INSULA_WORKER_QUEUES: {strange}: no task names it; default, bulk are there"


def test_a_worker_with_half_a_login_for_mail_does_not_start(bench: Workbench) -> None:
    with pytest.raises(SettingsError, match="INSULA_SMTP_PASSWORD is needed"):
        create_worker(settings_on(bench, smtp_username="insula"), (FEATURE,))


def test_queues_are_named_with_commas_between_them(settings: Settings) -> None:
    named = msgspec.structs.replace(settings, worker_queues=" bulk, default,bulk ")
    assert load(variables(named)).worker_queues == " bulk, default,bulk "
    create_worker(named)
    assert queues_of(FEATURES) == ("default", "bulk")
