"""The worker process as a whole, inside the test's own process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from insula.core import queue
from insula.core.db import Transaction
from insula.core.feature import Feature
from insula.core.jobs import Handler, JobContext, wake
from insula.core.lately import Lately
from insula.embedded import EmbeddedValkey
from insula.product import FEATURES
from insula.settings import Settings
from insula.worker import create_worker
from tests.core.workbench import Note, Workbench, leave_effect
from tests.factories import settings_for


def settings_on(bench: Workbench, **changes: Any) -> Settings:
    urls = {
        "database_url": bench.urls["app_rw"],
        "identity_database_url": None,
        "platform_database_url": bench.urls["app_platform"],
        "redis_url": bench.urls["redis"],
    }
    return settings_for(**(urls | {"metrics_port": 0} | changes))


@asynccontextmanager
async def working(settings: Settings, handler: Handler) -> AsyncIterator[asyncio.Event]:
    """A worker runs; setting the event stops it, as SIGTERM would."""
    stopping = asyncio.Event()
    feature = Feature(name="test", handlers={Note: handler})
    async with asyncio.TaskGroup() as tasks:  # a worker that fails fails the test at once
        tasks.create_task(create_worker(settings, (feature,)).serve(stopping))
        yield stopping
        stopping.set()


async def ends_as(bench: Workbench, job_id: str, status: str) -> None:
    async with asyncio.timeout(15):
        while (await bench.row(job_id))["status"] != status:
            await asyncio.sleep(0.01)


async def test_a_job_is_done_after_its_commit(bench: Workbench) -> None:
    async with working(settings_on(bench), leave_effect):
        (first,) = await bench.ask(Note())
        await ends_as(bench, first, "done")
        (second,) = await bench.ask(Note())
        await wake(bench.redis)
        await ends_as(bench, second, "done")
    assert len(await bench.effects()) == 2


async def test_a_job_that_outlasts_the_drain_is_released_uncounted(bench: Workbench) -> None:
    begun = asyncio.Event()

    async def hang(db: Transaction, task: Note, context: JobContext) -> None:
        await leave_effect(db, task, context)
        begun.set()
        await asyncio.sleep(60)

    async with working(settings_on(bench, drain_seconds=0), hang) as stopping:
        (job_id,) = await bench.ask(Note())
        await begun.wait()
        stopping.set()
        await ends_as(bench, job_id, "due")
    row = await bench.row(job_id)
    assert (row["failures"], row["crashes"], row["attempt"]) == (0, 0, 1)
    assert await bench.effects() == []


@pytest.mark.attack(132)
async def test_what_somebody_else_wrote_in_the_place_of_the_queue_stops_no_job(bench: Workbench) -> None:
    async with working(settings_on(bench), leave_effect):
        (before,) = await bench.ask(Note())
        await ends_as(bench, before, "done")
        for spoil in (bench.redis.set("saq:insula:queued", "x"), bench.redis.hset("saq:insula:queued", "a", "b")):
            await bench.redis.delete("saq:insula:queued")
            await spoil
            (after,) = await bench.ask(Note())
            await ends_as(bench, after, "done")


@pytest.mark.parametrize(
    "message",
    [
        "x" * 10_000,
        '{"function": "nope", "kwargs": {"secret": "x"}, "queue": "insula"}',
        '{"function": "run", "kwargs": {"marker": "'
        + "x" * 10_000
        + '"}, "queue": "insula", "key": "k", "timeout": 9}',
        '{"function": "run", "kwargs": {"job_id": 5, "secret": 7}, "queue": "insula", "key": "k", "timeout": 9}',
        '{"function": "run", "kwargs": {"job_id": "x", "secret": "AAAA"}, "key": "' + "k" * 10_000 + '", "timeout": 9}',
        '{"function": "run", "kwargs": {"job_id": "x", "secret": "AAAA"}, "key": "k", "timeout": -1}',
    ],
    ids=["no JSON", "another function", "other arguments", "numbers", "a long key", "no time"],
)
async def test_a_flood_of_foreign_messages_is_told_in_a_line(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(queue, "LATELY", Lately())
    with capture_logs() as lines:
        async with working(settings_on(bench), leave_effect):
            await bench.redis.rpush("saq:insula:queued", *[message] * 200)
            (after,) = await bench.ask(Note())
            await ends_as(bench, after, "done")
    told = [line for line in lines if line["event"] == "a message in the queue is not ours"]
    assert len(told) == 1
    assert len(told[0]["error"]) <= 200
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_redis_may_go_away_and_come_back(bench: Workbench, tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path, settings={"appendonly": "no"})
    valkey.start()
    try:
        async with working(settings_on(bench, redis_url=valkey.url), leave_effect):
            (before,) = await bench.ask(Note())
            await ends_as(bench, before, "done")
            valkey.stop()
            (during,) = await bench.ask(Note())
            await asyncio.sleep(0.5)  # the outage is logged, once
            spent = time.process_time()
            await asyncio.sleep(1.5)
            assert time.process_time() - spent < 0.3, "waiting for Redis must not use up a core"
            assert (await bench.row(during))["status"] == "due"
            valkey.start()
            await ends_as(bench, during, "done")
            assert (await bench.row(during))["crashes"] == 0
    finally:
        valkey.stop()


def test_the_program_has_a_worker(settings: Settings) -> None:
    create_worker(settings)
    tasks = [task.NAME for feature in FEATURES for task in feature.handlers]
    assert len(tasks) == len(set(tasks))


async def test_features_whose_tasks_share_a_name_do_not_start(bench: Workbench) -> None:
    class Twin(Note, frozen=True):
        pass

    twins = Feature(name="twins", handlers={Note: leave_effect, Twin: leave_effect})
    with pytest.raises(ValueError, match="share a name"):
        create_worker(settings_on(bench), (twins,))
