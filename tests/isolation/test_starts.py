"""A program that starts while its database changes looks again, and waits for whoever has locked it."""

import asyncio
from itertools import count
from typing import Any

import asyncpg
import msgspec
import pytest
from structlog.testing import capture_logs

from insula.core import catalogue
from insula.core.catalogue import Finding, StillLocked, Unproven, facts, require_proven
from insula.core.db import BEGIN, Database
from insula.core.pool import Driver
from insula.schema import RELEASE
from tests.conftest import address


async def test_a_start_while_a_migration_is_committed_looks_again(
    addresses: dict[str, str], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision was read before, what the schema is made of after."""
    revisions = iter([RELEASE.revision, RELEASE.revision, "9999", "9999", "9999", "9999"])
    newer = [*RELEASE.inventory, "column app.project initial text"]

    async def revision_of(_: object) -> str:
        return next(revisions)

    async def read_inventory(_: object) -> list[str]:
        return newer

    monkeypatch.setattr(catalogue, "revision_of", revision_of)
    monkeypatch.setattr(catalogue, "read_inventory", read_inventory)
    database = await Database(address(addresses["admin"], "app_rw", broken), pool_size=1).open()
    try:
        await require_proven(database, RELEASE)
    finally:
        await database.close()
    assert next(revisions, None) is None


async def test_a_start_waits_for_whoever_has_locked_a_table(
    addresses: dict[str, str], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a table is made of cannot be looked at while a migration rewrites it."""
    monkeypatch.setattr("insula.core.db.BEGIN", BEGIN.replace("lock_timeout = '5s'", "lock_timeout = '50ms'"))
    superuser = await asyncpg.connect(addresses["admin"], database=broken)
    database = await Database(address(addresses["admin"], "app_rw", broken), pool_size=1).open()
    try:
        async with superuser.transaction():
            await superuser.execute("LOCK TABLE app.project IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StillLocked, match="locked"):
                await require_proven(database, RELEASE)
            with capture_logs() as lines:
                start = asyncio.create_task(require_proven(database, RELEASE))
                while not lines:  # the log has no event
                    await asyncio.sleep(0.01)
        await start
    finally:
        await database.close()
        await superuser.close()
    assert {line["event"] for line in lines} == {"the start waits for whoever has locked a table"}


async def test_a_start_while_old_events_are_dropped_looks_again(
    addresses: dict[str, str], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question saw the month, the next did not: a table without policies."""
    superuser = await asyncpg.connect(addresses["admin"], database=broken)
    await superuser.execute("SELECT app.create_event_partitions(now() - interval '200 days', 0)")
    read, dropped = facts._read, []

    async def dropping(driver: Driver, fact: Any, query: str) -> Any:
        found = await read(driver, fact, query)
        if fact is facts.Table and not dropped:
            dropped.append(await superuser.fetchval("SELECT app.drop_event_partitions('90 days')"))
        return found

    monkeypatch.setattr(facts, "_read", dropping)
    database = await Database(address(addresses["admin"], "app_rw", broken), pool_size=1).open()
    try:
        await require_proven(database, RELEASE)
        assert dropped == [1]
    finally:
        await database.close()
        await superuser.close()


async def test_a_database_with_something_else_wrong_at_every_look_is_refused(
    addresses: dict[str, str], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count()

    async def check(*_: object) -> list[Finding]:
        return [Finding("rule", f"thing {next(looks)}", "is wrong", "Mend it.")]

    monkeypatch.setattr(catalogue, "check_catalogue", check)
    database = await Database(address(addresses["admin"], "app_rw", broken), pool_size=1).open()
    try:
        with pytest.raises(Unproven, match=r"thing 4: is wrong"):
            await require_proven(database, RELEASE)
    finally:
        await database.close()
    assert next(looks) == 5


async def test_where_only_the_inventory_is_of_before_that_is_said_and_its_remedy_once(
    addresses: dict[str, str], broken: str
) -> None:
    *before, _, _ = RELEASE.inventory
    database = await Database(address(addresses["admin"], "app_rw", broken), pool_size=1).open()
    try:
        with pytest.raises(Unproven) as refused:
            await require_proven(database, msgspec.structs.replace(RELEASE, inventory=tuple(before)))
        with pytest.raises(Unproven, match=r"^The database does not prove") as broken_too:
            raise Unproven([*refused.value.findings, Finding("rule", "thing", "is wrong", "Mend it.")])
    finally:
        await database.close()
    headline, *lines, remedy = str(refused.value).splitlines()
    assert headline.startswith("The schema differs from migrations/inventory.txt")
    assert [line.endswith("should not be there (the_schema_is_the_releases).") for line in lines] == [True] * 2
    assert remedy.startswith("Somebody changed the schema by hand, or migrations/inventory.txt")
    assert str(broken_too.value).splitlines()[1:] == [*lines, remedy, "thing: is wrong (rule). Mend it."]
