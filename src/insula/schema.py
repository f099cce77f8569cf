"""Which revision of the schema this program was written for, and whether the database has it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import asyncpg

from insula.core.catalogue import Release, revision_of, revisions_in
from insula.core.db import Database
from insula.core.mendable import Mendable

MIGRATIONS: Final = Path(__file__).parents[2] / "migrations"
BRANCHES: Final = (MIGRATIONS / "versions", MIGRATIONS / "own")
"""Ours, and that of who builds on it: numbered on their own, so that neither is in the other's way."""
VERSION_TABLE: Final = {"version_table_schema": "migration", "version_table": "version"}
"""Where alembic keeps what the database is at."""
_UNNEEDED: Final = re.compile(r"^needed = False$", re.MULTILINE)
"""What a revision says of itself while the program that comes with it does not use what it makes."""


def _newest(revisions: Iterable[str]) -> dict[str, str]:
    """The newest revision of each branch, by what its names begin with; ours begin with their number."""
    return {revision[:-4]: revision for revision in sorted(revisions)}


def _revisions(folders: Iterable[Path], *, unneeded: bool = True) -> Iterable[str]:
    for folder in folders:
        for path in folder.glob("*.py"):
            named = re.match(r"(own_)?\d{4}(?=_)", path.name)
            if named and (unneeded or not _UNNEEDED.search(path.read_text(encoding="utf-8"))):
                yield named[0]


def state_of(revisions: Iterable[str]) -> str:
    """What a schema is at after these: the newest of each branch, as in ``0014 own_0003``."""
    return " ".join(sorted(_newest(revisions).values()))


REVISION: Final = state_of(_revisions(BRANCHES))
NEEDED: Final = state_of(_revisions(BRANCHES, unneeded=False))
"""The oldest schema that this program runs on: migrated to here, it may start before the rest is migrated."""

INVENTORY: Final = MIGRATIONS / "inventory.txt"
RELEASE: Final = Release(REVISION, tuple(INVENTORY.read_text(encoding="utf-8").splitlines()))
"""What the database of this release is made of; a test writes the file anew from the migrations."""


class SchemaBehind(Mendable):
    """The program would look for what is not there yet: it does not start."""

    def __init__(self, said: str) -> None:
        self.found = " ".join(revisions_in(said))
        found = self.found or (f"unknown (its comment says {said!r})" if said else "unknown")
        super().__init__(
            f"The database's schema is at revision {found}, this program needs {NEEDED}: run `insula migrate` first."
        )


async def require_migrated(database: Database) -> None:
    """At start-up, over app_rw's own connections. Raises SchemaBehind.

    A schema that is ahead is well: during a release the programs of before run on it. So is one that lacks nothing but
    what this program does not use yet.
    """
    try:
        async with database.transaction(read_only=True) as transaction:
            found = await revision_of(transaction.driver)
    except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):  # not even what begins a transaction
        found = ""
    reached = _newest(revisions_in(found))
    if any(reached.get(branch, "") < needed for branch, needed in _newest(NEEDED.split()).items()):
        raise SchemaBehind(found)
