"""What tables are, and are called: words that migrations write, and the program and its proof read."""

from enum import StrEnum

SCHEMA = "app"
ISOLATION = "tenant_id = (SELECT app.tenant_id())"
"""Wrapped in a SELECT so that a statement asks once, not once per row."""

ALONE = "(SELECT app.tenant_id()) IS NULL"
"""Whose context names a person and no organization."""

COUNT_VERSION = "count_version"
"""The trigger, and its function, by which a row that lost a reference gets its next version."""

MOMENTS = ("2000-01-01", "2200-01-01")
"""What a column of moments may hold: Postgres knows years that no program can read, and one such row ends every page
that it is on, other people's pages too."""
TEXT_BYTES = 8 * 1024
JSON_BYTES = 64 * 1024
"""How large one value may be, where its column does not say ``info={"bytes": ...}``."""


class TableClass(StrEnum):
    """Which proof a table must pass; stored as the table's comment, so that the database describes itself."""

    TENANT = "tenant"
    """Rows belong to one organization; the signed context decides which rows exist."""
    USER = "user"
    """Rows belong to one person, across organizations."""
    REGISTRY = "registry"
    """Globally unique, or needed before a tenant is known: reached by door functions only."""
    PLATFORM = "platform"
    """Belongs to the program itself: outbox, schedules, operators."""


def delete_door(table: str) -> str:
    """The name of the function through which the application deletes a row of a tenant table."""
    return f"delete_{table}"


def delete_door_body(table: str) -> str:
    """What it does, to the letter, between its quotes: the catalogue check compares it."""
    mine = f"{ISOLATION} AND id = row_id"
    return f'$$ BEGIN DELETE FROM {SCHEMA}."{table}" WHERE {mine}; RETURN FOUND; END $$'  # noqa: S608  # a table of ours
