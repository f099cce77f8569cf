"""A large table is expanded while clients read and write it: nobody waits for a lock for long, no request fails."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import msgspec
import pytest

from insula.settings import Settings
from tests.conftest import clone, urls_of
from tests.deploy.migrating import Scene, Watch
from tests.migrations.expansion import EXPANSION

NAME = f"insula_migrated_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"

NAIVE = """
from alembic import op

revision = "own_0001"
down_revision = None
branch_labels = ("own",)
depends_on = "0014"


def upgrade() -> None:
    op.execute("ALTER TABLE app.project ADD COLUMN initial text, ALTER initial SET STATISTICS 0")
    op.execute("UPDATE app.project SET initial = left(name, 1)")
    op.execute("ALTER TABLE app.project ADD CONSTRAINT project_initial CHECK (octet_length(initial) <= 4)")
    op.execute("CREATE INDEX project_initial_order ON app.project (tenant_id, initial, id)")
"""
"""The same in one transaction, which waits for its lock for as long as it takes, and then keeps it to the end."""

WITHOUT = "SELECT count(*) FROM app.project WHERE initial IS DISTINCT FROM left(name, 1)"
FINISHED = """
SELECT (SELECT convalidated FROM pg_constraint WHERE conname = 'project_initial'),
       (SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.project_initial_order'::regclass)
"""


class Place(msgspec.Struct, frozen=True):
    """Where it happens, and two who look on."""

    scene: Scene
    watch: Watch
    superuser: asyncpg.Connection


@pytest.fixture
async def place(
    addresses: dict[str, str], settings: Settings, tmp_path: Path, pytestconfig: pytest.Config
) -> AsyncIterator[Place]:
    rows: int = pytestconfig.getoption("--deploy-rows", 20_000)
    await clone(addresses["admin"], NAME)
    changed = msgspec.structs.replace(
        settings, **urls_of(addresses["admin"], NAME), metrics_port=0, limit_projects=1_000_000
    )
    async with AsyncExitStack() as stack:
        superuser, onlooker = [await asyncpg.connect(addresses["admin"], database=NAME) for _ in range(2)]
        stack.push_async_callback(superuser.close)
        stack.push_async_callback(onlooker.close)
        scene = Scene(changed, superuser, tmp_path, rows)
        await scene.fill()
        yield Place(scene, Watch(onlooker), superuser)


async def test_a_large_table_is_expanded_under_load_and_no_request_fails_or_waits_for_long(place: Place) -> None:
    told = await place.scene.migrated(EXPANSION, place.watch, lambda watch, clients, log: "a table is busy" in log)
    assert told.report.acknowledged > 50, "too little was asked for to prove anything"
    assert told.broken() == []
    assert await place.superuser.fetchval(WITHOUT) == 0, "rows without an initial, be they older or younger"
    assert tuple(await place.superuser.fetchrow(FINISHED)) == (True, True)


async def test_the_same_count_finds_what_a_careless_migration_does_to_others(place: Place, tmp_path: Path) -> None:
    (careless := tmp_path / "own_0001_careless.py").write_text(NAIVE, encoding="utf-8")
    told = await place.scene.migrated(
        [careless], place.watch, lambda watch, clients, log: bool(watch.broken()) and clients.failed > 0
    )
    broken = told.broken()
    assert any("waited" in line for line in broken), broken
    assert any("refused" in line for line in broken), broken


async def test_however_late_the_watch_is_a_wait_of_three_seconds_and_more_is_too_long(
    addresses: dict[str, str], database: str
) -> None:
    async with AsyncExitStack() as stack:
        connections = [await asyncpg.connect(addresses["admin"], database=database) for _ in range(3)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        holder, waiting, onlooker = connections
        watch = Watch(onlooker)
        watch.late = 60.0
        await holder.execute("SELECT pg_advisory_lock(3)")
        async with watch:
            held_up = asyncio.create_task(waiting.execute("SELECT pg_advisory_lock(3)"))
            while watch.longest < 3.2:
                await asyncio.sleep(0.05)
            await holder.execute("SELECT pg_advisory_unlock(3)")
            await held_up
    assert any("waited for too long" in line for line in watch.broken()), watch.broken()
