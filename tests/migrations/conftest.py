"""A database of the migrations' own, which they take apart and put together again."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from insula.provision import migrate
from insula.schema import MIGRATIONS
from tests.conftest import address, clone

VERSIONS: list[Path] = sorted((MIGRATIONS / "versions").glob("*.py"))
SCRIPTS: list[Path] = sorted((MIGRATIONS / "sql").glob("*.sql"))


def revisions() -> list[str]:
    """Every revision, oldest first, as alembic chains them."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


class Schema:
    """A database at some revision, and a superuser's view of it."""

    def __init__(self, owner_dsn: str, superuser: asyncpg.Connection) -> None:
        self.owner_dsn, self.superuser = owner_dsn, superuser

    async def move(self, revision: str) -> None:
        """Up to a revision; down with ``-1`` or ``base``."""
        await migrate(self.owner_dsn, revision)


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
