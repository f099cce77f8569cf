"""What migrations do to large tables can be interrupted, repeated and undone, and takes turns with whoever is there."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from insula import provision
from insula.core.catalogue import check_catalogue
from insula.core.large_tables import RowsLeft
from insula.provision import TablesBusy
from insula.schema import RELEASE
from tests.factories import World
from tests.migrations.conftest import Schema, back, revisions
from tests.migrations.snapshot import snapshot

ROWS = """
INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)
SELECT tenant_id, gen_random_uuid(), 'Row ' || n, 'row ' || n, 'R' || n, 'active', '{}', now(), now(), 1
  FROM app.organization, generate_series(1, $1::integer) AS n
"""
INITIALS = "SELECT count(*) FROM app.project WHERE initial = 'R'"
COMMENT = "SELECT obj_description('app'::regnamespace, 'pg_namespace')"


async def fill(schema: Schema, world: World, rows: int) -> None:
    """So many rows in each of two organizations."""
    here = World(None, world.settings, schema.superuser)
    await here.owner()
    await here.owner()
    await schema.superuser.execute(ROWS, rows)


def change(own: Path, number: int, old: str, new: str) -> None:
    """Another text for one of the planted revisions, counted from the first."""
    path = sorted(own.glob("own_*.py"))[number - 5]
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


async def test_an_expansion_goes_down_and_up_again(own: Path, schema: Schema) -> None:
    planted = [revision for revision in revisions() if revision.startswith("own_")]
    await schema.move("heads")
    taken_apart = {}
    for revision in reversed(planted):
        taken_apart[revision] = await snapshot(schema.superuser)
        await schema.move(back(revision))
    for revision in planted:
        await schema.move(revision)
        assert await snapshot(schema.superuser) == taken_apart[revision], revision


@pytest.mark.parametrize("rows", [4, 5, 6])
async def test_a_backfill_reaches_each_row_whatever_the_size_of_its_batches(
    own: Path, schema: Schema, world: World, rows: int
) -> None:
    await fill(schema, world, 5)
    change(own, 2, "missing=initial.is_(None))", f"missing=initial.is_(None), rows={rows})")
    await schema.move("heads")
    assert await schema.superuser.fetchval(INITIALS) == 10


async def test_a_backfill_says_that_rows_are_left(own: Path, schema: Schema, world: World) -> None:
    await fill(schema, world, 1)
    change(own, 2, "sa.func.left(name, 1)", "sa.null()")
    with pytest.raises(RowsLeft, match="project: rows without the value"):
        await schema.move("heads")


async def test_a_backfill_lets_go_of_other_rows_where_one_is_held(own: Path, schema: Schema, world: World) -> None:
    await fill(schema, world, 5)
    await schema.move(sorted(revisions())[-4])
    other = await asyncpg.connect(schema.owner_dsn)
    try:
        async with schema.superuser.transaction():
            await schema.superuser.execute("UPDATE app.project SET status = 'paused' WHERE key = 'R3'")
            migration = asyncio.create_task(schema.move("heads"))
            seen = set()
            while len(seen) < 2:  # a second attempt has begun
                assert not migration.done()
                found = await other.fetchval(
                    "SELECT query_start FROM pg_stat_activity WHERE datname = current_database()"
                    " AND usename = 'app_migrator' AND wait_event_type = 'Lock'"
                )
                seen |= {found} - {None}
                await asyncio.sleep(0.05)
            async with other.transaction():
                await other.execute("SET LOCAL ROLE app_owner; SET LOCAL lock_timeout = '4s'")
                await other.execute("UPDATE app.project SET status = 'paused' WHERE key <> 'R3'")
        await migration
    finally:
        await other.close()
    assert await schema.superuser.fetchval(INITIALS) == 10


async def test_an_index_that_was_left_half_built_is_built_anew(own: Path, schema: Schema, world: World) -> None:
    await fill(schema, world, 2)
    await schema.move(revisions()[-2])
    with pytest.raises(asyncpg.UniqueViolationError):
        await schema.superuser.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY project_initial_order ON app.project (tenant_id, initial)"
        )
    await schema.move("heads")
    valid = (
        "SELECT indisvalid AND NOT indisunique FROM pg_index WHERE indexrelid = 'app.project_initial_order'::regclass"
    )
    assert await schema.superuser.fetchval(valid)


async def test_what_is_between_two_revisions_says_so_and_stops_nobody(own: Path, schema: Schema) -> None:
    last = revisions()[-1]
    await schema.move(revisions()[-2])
    change(own, 4, '"id"])', "\"id\"])\n    raise RuntimeError('interrupted')")
    with pytest.raises(RuntimeError, match="interrupted"):
        await schema.move("heads")
    assert (await schema.superuser.fetchval(COMMENT)).endswith(" unfinished")
    async with schema.superuser.transaction():
        await schema.superuser.execute("SET LOCAL search_path = pg_catalog")
        found = [finding.rule for finding in await check_catalogue(schema.superuser, RELEASE)]
    assert "the_schema_is_the_releases" not in found
    change(own, 4, "raise RuntimeError('interrupted')", "")
    await schema.move("heads")
    assert (await schema.superuser.fetchval(COMMENT)).endswith(last)


async def test_two_releases_that_migrate_at_once_take_turns(own: Path, schema: Schema, world: World) -> None:
    """Also while the first of them builds an index, which waits for all transactions that are open."""
    await fill(schema, world, 2)
    await asyncio.gather(*(schema.move("heads") for _ in range(3)))
    assert (await schema.superuser.fetchval(COMMENT)).endswith(revisions()[-1])


async def test_who_cannot_get_a_lock_is_told_so(own: Path, schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "_ATTEMPTS", 1)
    async with schema.superuser.transaction():
        await schema.superuser.fetch("SELECT FROM app.project")
        with pytest.raises(TablesBusy, match=r"a table is busy .*lock timeout"):
            await schema.move("heads")
