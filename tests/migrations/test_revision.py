"""The program does not start on a schema that is older than itself."""

import asyncio
import io
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from insula.app import create_litestar
from insula.core.catalogue import Unproven, require_proven, revisions_in
from insula.core.db import Database
from insula.core.readiness import Readiness, knocking
from insula.doctor import examine
from insula.provision import RevisionRefused
from insula.schema import NEEDED, RELEASE, REVISION, SchemaBehind, _revisions, require_migrated, state_of
from insula.settings import Settings
from insula.worker import create_worker
from tests.migrations.conftest import Schema, back, revisions
from tests.migrations.expansion import EXPANSION


@pytest.fixture
async def installed(schema: Schema, settings: Settings) -> Settings:
    """The program's settings, for the database whose schema these tests move."""
    name = await schema.superuser.fetchval("SELECT current_database()")
    urls = {
        field: f"{getattr(settings, field).rpartition('/')[0]}/{name}"
        for field in ("database_url", "identity_database_url", "platform_database_url")
    }
    return msgspec.structs.replace(settings, **urls, metrics_port=0)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database_url, pool_size=1)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def test_the_program_knows_the_newest_revisions() -> None:
    assert state_of(revisions()) == REVISION


def test_what_the_program_does_not_use_yet_it_does_not_need(tmp_path: Path) -> None:
    for path in EXPANSION:
        shutil.copy(path, tmp_path)
    assert state_of(_revisions([tmp_path])) == "own_0004"
    assert state_of(_revisions([tmp_path], unneeded=False)) == ""
    used = tmp_path / EXPANSION[1].name
    used.write_text(used.read_text(encoding="utf-8").replace("needed = False", ""), encoding="utf-8")
    assert state_of(_revisions([tmp_path], unneeded=False)) == "own_0002"


async def test_api_and_worker_do_not_start_on_a_schema_that_is_behind(schema: Schema, installed: Settings) -> None:
    await schema.move(back(revisions()[-1]))
    told = rf"at revision {state_of(revisions()[:-1])}, this program needs {NEEDED}: run `insula migrate` first"
    with pytest.RaisesGroup(pytest.RaisesExc(SchemaBehind, match=told)):
        async with create_litestar(installed).lifespan():
            pass
    with pytest.raises(SchemaBehind, match=told):
        await create_worker(installed).serve(asyncio.Event())


@pytest.mark.parametrize("revision", ["foo", "-99"])
async def test_a_revision_that_is_not_there_is_refused(schema: Schema, revision: str) -> None:
    with pytest.raises(RevisionRefused, match=f"cannot migrate to {revision}: "):
        await schema.move(revision)


async def test_a_migration_tells_where_the_schema_is_and_not_where_it_was_to_go(schema: Schema) -> None:
    assert await schema.move("0003") == REVISION, "what is there already is no way back"
    assert await schema.move("base") == ""


async def test_a_schema_of_a_later_release_is_not_migrated(schema: Schema) -> None:
    await schema.superuser.execute("UPDATE migration.version SET version_num = '9999'")
    with pytest.raises(RevisionRefused, match="'9999'"):
        await schema.move("heads")


async def test_doctor_says_that_the_schema_is_behind(schema: Schema, installed: Settings) -> None:
    await schema.move(back(revisions()[-1]))
    said = io.StringIO()
    assert not await examine(installed, Console(file=said, width=200))
    told = said.getvalue()
    assert f"wrong  the schema, revision {NEEDED} or newer: The database's schema is at revision" in told
    assert told.count("wrong  isolation, ") > 0, "what the newest revision makes is missed"
    assert told.count("That may follow from the schema, which is behind: `insula migrate` first") == 1
    assert "REVOKE EXECUTE" not in told


async def test_doctor_says_once_what_to_do_about_all_that_has_one_remedy(schema: Schema, installed: Settings) -> None:
    for name in ("first", "second"):
        await schema.superuser.execute(f"CREATE INDEX by_hand_{name} ON app.project (tenant_id, id)")
    said = io.StringIO()
    assert not await examine(installed, Console(file=said, width=200))
    lines = said.getvalue().splitlines()
    (first, second) = [number for number, line in enumerate(lines) if line.startswith("wrong  isolation, index ")]
    assert second == first + 1
    assert lines[second + 1].lstrip().startswith("Somebody changed the schema by hand")
    assert said.getvalue().count("Somebody changed the schema by hand") == 1


async def test_doctor_says_once_that_no_migration_was_run(schema: Schema, installed: Settings) -> None:
    await schema.move("base")
    said = io.StringIO()
    assert not await examine(installed, Console(file=said, width=200))
    found = [line for line in said.getvalue().splitlines() if line.startswith("wrong") and "SMTP" not in line]
    assert [line.partition(":")[0] for line in found] == [f"wrong  the schema, revision {NEEDED} or newer"]
    assert "not looked at: the proof of isolation, the program's keys" in said.getvalue()


@pytest.mark.parametrize(
    "remark",
    ["The tables of our product", "core", "v2", f"{REVISION} and more", f"{REVISION} 9999", "9999 tables of ours"],
)
async def test_a_remark_on_the_schema_is_no_release(schema: Schema, installed: Settings, remark: str) -> None:
    """With another release nothing is compared: a documentation tool must not say that it is one."""
    await schema.superuser.execute(f"COMMENT ON SCHEMA app IS '{remark}'")
    async with opened(installed) as database:
        with pytest.raises(SchemaBehind, match=re.escape(f"unknown (its comment says '{remark}')")):
            await require_migrated(database)
        with pytest.raises(Unproven, match=f"schema app: its comment is no revision: '{remark}'.*insula migrate"):
            await require_proven(database, RELEASE)
    said = io.StringIO()
    assert not await examine(installed, Console(file=said, width=200))
    assert f"wrong  isolation, schema app: its comment is no revision: '{remark}'" in said.getvalue()
    await schema.move("heads")
    async with opened(installed) as database:
        await require_migrated(database)


@pytest.mark.parametrize("said", ["", "0014", "own_0003", "0014 own_0003", "0014 own_0003 unfinished", "9999"])
def test_what_migrations_write_is_understood(said: str) -> None:
    assert revisions_in(said) == said.removesuffix(" unfinished").split()


async def test_a_schema_that_never_saw_a_migration_is_behind_and_one_that_is_ahead_is_well(
    schema: Schema, installed: Settings
) -> None:
    async with opened(installed) as database:
        await require_migrated(database)
        await schema.superuser.execute(f"COMMENT ON SCHEMA app IS '{state_of([*revisions(), '9999'])}'")
        await require_migrated(database)
        await schema.move("base")
        with pytest.raises(SchemaBehind, match="revision unknown"):
            await require_migrated(database)
        assert await Readiness({"database": knocking(database)}).lacks() == "database not migrated"
        await schema.move("heads")
        await require_migrated(database)
