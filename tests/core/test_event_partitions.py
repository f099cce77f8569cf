"""The months of events: made before they come, dropped when all of one is older than what is kept."""

from datetime import timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from insula.core.clock import now
from insula.core.upkeep import event_retention
from tests.core.workbench import Workbench


async def test_a_month_of_events_goes_when_all_of_it_is_older_than_what_is_kept(bench: Workbench) -> None:
    await bench.superuser.execute(
        "SELECT app.create_event_partitions(now() - interval '600 days', 0),"
        " app.create_event_partitions(now() - interval '90 days', 0)"
    )
    await bench.upkeep(event_retention(90)).tick()
    found = await bench.superuser.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'app.event'::regclass"
    )
    months = {row[0] for row in found}
    kept, over = ((now() - timedelta(days=days)).strftime("app.event_%Y_%m") for days in (90, 600))
    assert (kept in months, over in months) == (True, False)


async def test_nobody_keeps_events_for_less_than_ninety_days(bench: Workbench) -> None:
    with capture_logs() as lines:
        await bench.upkeep(event_retention(89)).tick()
    (line,) = lines
    assert (line["event"], line["step"]) == ("what comes round by itself failed", "drop_event_partitions")
    assert "90 days" in line["cause"]


async def test_next_months_partition_waits_for_no_reader_and_keeps_no_writer(bench: Workbench) -> None:
    newest = await bench.superuser.fetchval("SELECT max(relname) FROM pg_class WHERE relname ~ '^event_[0-9_]+$'")
    await bench.superuser.execute(f"DROP TABLE app.{newest}")
    reader, writer = [await asyncpg.connect(bench.urls["admin"]) for _ in range(2)]
    try:
        await reader.execute("BEGIN; SELECT count(*) FROM app.event")
        async with bench.superuser.transaction():
            await bench.superuser.execute("SET LOCAL lock_timeout = '1s'; SELECT app.create_event_partitions(now(), 3)")
            await writer.execute("SET lock_timeout = '1s'; SELECT app.record_purged(gen_random_uuid(), 'team', 1)")
    finally:
        await reader.close()
        await writer.close()
    attached = "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = to_regclass('app.' || $1)"
    assert await bench.superuser.fetchval(attached, newest) == "app.event"


async def test_no_interval_is_longer_to_the_check_than_to_the_deed(bench: Workbench) -> None:
    skewed = "interval '-1200 months 36091 days'"  # compared, a month is 30 days; subtracted, it is itself
    with pytest.raises(asyncpg.InvalidParameterValueError, match="90 days"):
        await bench.superuser.execute(f"SELECT app.drop_event_partitions({skewed})")


async def test_months_of_events_are_not_made_without_end(bench: Workbench) -> None:
    for asked in ("'2150-01-01', 1", "now(), 25"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="two years"):
            await bench.superuser.execute(f"SELECT app.create_event_partitions({asked})")
