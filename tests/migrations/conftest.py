"""A database of the migrations' own, which they take apart and put together again."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from insula import provision
from insula.provision import alembic_config, migrate
from insula.schema import BRANCHES, MIGRATIONS
from tests.conftest import address, clone
from tests.migrations.expansion import plant

VERSIONS: list[Path] = sorted(path for folder in BRANCHES for path in folder.glob("*.py"))
SCRIPTS: list[Path] = sorted(
    path for folder in (MIGRATIONS / "sql", MIGRATIONS / "own") for path in folder.glob("*.sql")
)


def revisions() -> list[str]:
    """Every revision, each after those that it needs."""
    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]


def back(revision: str) -> str:
    """The way down from a revision that is the newest of its branch."""
    return "own@-1" if revision.startswith("own_") else "insula@-1"


class Schema:
    """A database at some revision, and a superuser's view of it."""

    def __init__(self, owner_dsn: str, superuser: asyncpg.Connection) -> None:
        self.owner_dsn, self.superuser = owner_dsn, superuser

    async def move(self, revision: str) -> str:
        """Up to a revision; down with ``-1``, ``own@-1`` or ``base``. Returns where that led."""
        return await migrate(self.owner_dsn, revision, everything=True)


@pytest.fixture
async def schema(addresses: dict[str, str]) -> AsyncIterator[Schema]:
    """A database with every migration applied."""
    name = f"insula_migrations_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    superuser = await asyncpg.connect(addresses["admin"], database=name)
    try:
        yield Schema(address(addresses["admin"], "app_migrator", name), superuser)
    finally:
        await superuser.close()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A branch of somebody's own that the migrations of this test run, with the expansion in it."""
    folder = tmp_path / "own"
    shutil.copytree(MIGRATIONS / "own", folder, ignore=shutil.ignore_patterns("__pycache__"))
    plant(folder)
    monkeypatch.setattr(provision, "BRANCHES", (MIGRATIONS / "versions", folder))
    return folder
