"""Which revision of the schema this program was written for, and whether the database has it."""

from pathlib import Path
from typing import Final

import asyncpg

from insula.core.db import Database

MIGRATIONS: Final = Path(__file__).parents[2] / "migrations"
REVISION: Final = max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py"))

# Migrations write it there: what is said about a schema can be read by every login, without a right to any table.
_FOUND: Final = "SELECT obj_description('app'::regnamespace, 'pg_namespace')"


class SchemaBehind(Exception):
    """The program would look for what is not there yet: it does not start."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"The database's schema is at revision {found or 'unknown'}, this program needs {REVISION}:"
            " run `insula migrate` first."
        )


async def require_migrated(database: Database) -> None:
    """At start-up, over app_rw's own connections. Raises SchemaBehind.

    A schema that is ahead is well: during a release the programs of before run on it.
    """
    try:
        async with database.transaction(read_only=True) as transaction:
            found = await transaction.driver.fetchval(_FOUND) or ""
    except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):  # not even what begins a transaction
        found = ""
    if found < REVISION:
        raise SchemaBehind(found)
