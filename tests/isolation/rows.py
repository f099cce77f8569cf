"""Plausible rows for any table, made from what the catalogue says of its columns."""

import re
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils import uuid7

from insula.core import clock

COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type,
       ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
              WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND a.attnum = ANY (k.conkey)) AS checks
  FROM pg_attribute a
 WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
   AND (a.attname = ANY ($2::text[]) OR a.attnotnull AND NOT a.atthasdef)
"""

PLAUSIBLE: dict[str, Callable[[], Any]] = {
    "uuid": lambda: UUID(bytes=uuid7().bytes),  # of today: the partitions of app.event go by it
    "bytea": lambda: secrets.token_bytes(32),
    "jsonb": lambda: "{}",
    "text[]": list,
    "boolean": lambda: True,
    "smallint": lambda: 1,
    "integer": lambda: 1,
    "bigint": lambda: 1,
    "timestamp with time zone": clock.now,
}


async def plausible(superuser: asyncpg.Connection, table: str, owner_column: str, owner: UUID) -> dict[str, Any]:
    """The columns a row needs and values that its checks accept; ``owner`` is whose it is."""
    columns = await superuser.fetch(COLUMNS, table, ["id", owner_column])
    text = f"x{secrets.token_hex(6)}@example.com"  # one for the row: an address and its normalised form agree
    row = {column["name"]: _value(column["type"], " ".join(column["checks"]), text) for column in columns}
    return row | {owner_column: owner}


async def insert(driver: asyncpg.Connection, table: str, row: dict[str, Any], ending: str = "") -> str:
    """Insert it, spelled out."""
    names, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
    status: str = await driver.execute(f"INSERT INTO {table} ({names}) VALUES ({places}) {ending}", *row.values())
    return status


def _value(type_: str, checks: str, text: str) -> Any:
    if type_ == "text":
        allowed = re.findall(r"ARRAY\['([^']+)'::text", checks)
        return allowed[0] if allowed else text
    if type_ not in PLAUSIBLE:
        raise NotImplementedError(f"a column of type {type_}: say in PLAUSIBLE what a plausible value is")
    return PLAUSIBLE[type_]()
