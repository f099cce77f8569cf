"""Plausible rows for any table, made from what the catalogue says of its columns."""

import re
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils import uuid7

from insula.core import clock

DOMAIN = "@example.com"

COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type,
       ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
              WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND a.attnum = ANY (k.conkey)) AS checks
  FROM pg_attribute a
 WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
   AND (a.attname = ANY ($2::text[]) OR a.attnotnull AND NOT a.atthasdef)
"""

REFERENCES = """
SELECT a.attname AS name, f.confrelid::regclass::text AS target, g.attname AS key, cardinality(f.conkey) > 1 AS paired
  FROM pg_constraint f, unnest(f.conkey, f.confkey) AS pair (here, there), pg_attribute a, pg_attribute g
 WHERE f.contype = 'f' AND f.conrelid = $1::text::regclass AND a.attname <> 'tenant_id'
   AND a.attrelid = f.conrelid AND a.attnum = pair.here AND g.attrelid = f.confrelid AND g.attnum = pair.there
 ORDER BY a.attnum
"""

SOFT_DELETED = """
SELECT count(*) FROM pg_attribute
 WHERE attrelid = $1::text::regclass AND attname = 'deleted_at' AND NOT attisdropped
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
    "date": lambda: clock.now().date(),
    "timestamp with time zone": clock.now,
}


async def stock(superuser: asyncpg.Connection, table: str, tenant: UUID, word: str = "x") -> list[UUID]:
    """Two rows of an organization's in a table, and two deleted ones where rows are soft-deleted; returns their ids.

    What they refer to are rows that the organization has; those that it lacks are planted before. Each text begins
    with ``word``, unless it may hold other ones only. One row it is where another would be the same.
    """
    references = await superuser.fetch(REFERENCES, table)
    made = []
    for number in range(4 if await superuser.fetchval(SOFT_DELETED, table) else 2):
        row = await plausible(superuser, table, "tenant_id", tenant, word)
        for place, reference in enumerate(each for each in references if each["name"] in row):
            targets = await _targets(superuser, reference, tenant, word)
            row[reference["name"]] = targets[number % 2 if place else 0]  # both are below the same one
        if number > 1:
            row["deleted_at"] = clock.now()
        if await insert(superuser, table, row, "ON CONFLICT DO NOTHING") == "INSERT 0 1":
            made.append(row["id"])
    return made


async def _targets(superuser: asyncpg.Connection, reference: asyncpg.Record, tenant: UUID, word: str) -> list[Any]:
    """Two rows to refer to, or twice the only one."""
    key, target = reference["key"], reference["target"]
    if not reference["paired"]:
        found = await superuser.fetch(f"SELECT {key} FROM {target} ORDER BY 1 LIMIT 2")
    else:
        if await first(superuser, target, tenant) is None:
            await stock(superuser, target, tenant, word)
        found = await superuser.fetch(f"SELECT {key} FROM {target} WHERE tenant_id = $1 ORDER BY id LIMIT 2", tenant)
    return [found[0][0], found[-1][0]]


async def first(superuser: asyncpg.Connection, table: str, tenant: UUID) -> Any:
    """The id of the first row that an organization has in a table."""
    return await superuser.fetchval(f"SELECT id FROM {table} WHERE tenant_id = $1 ORDER BY id LIMIT 1", tenant)


async def plausible(
    superuser: asyncpg.Connection, table: str, owner_column: str, owner: UUID, word: str = "x"
) -> dict[str, Any]:
    """The columns a row needs and values that its checks accept; ``owner`` is whose it is."""
    columns = await superuser.fetch(COLUMNS, table, ["id", owner_column])
    text = f"{word}{secrets.token_hex(6)}{DOMAIN}"  # one for the row: an address and its normalised form agree
    row = {column["name"]: _value(column["type"], " ".join(column["checks"]), text) for column in columns}
    return row | {owner_column: owner}


async def insert(driver: asyncpg.Connection, table: str, row: dict[str, Any], ending: str = "") -> str:
    """Insert it, spelled out."""
    names, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
    status: str = await driver.execute(f"INSERT INTO {table} ({names}) VALUES ({places}) {ending}", *row.values())
    return status


def _value(type_: str, checks: str, text: str) -> Any:
    if type_ == "text":
        room = min((int(bound) for bound in re.findall(r"length\(\w+\) <= (\d+)", checks)), default=len(text))
        short = text.removesuffix(DOMAIN)[-room:]  # its end, which no other row has
        return allowed(checks) or (text if len(text) <= room else short)
    if type_ not in PLAUSIBLE:
        raise NotImplementedError(f"a column of type {type_}: say in PLAUSIBLE what a plausible value is")
    return PLAUSIBLE[type_]()


def allowed(checks: str) -> str | None:
    """The first of the texts that a column may hold, where its checks list them."""
    found = re.search(r"ARRAY\['([^']+)'::text", checks)
    return found[1] if found else None
