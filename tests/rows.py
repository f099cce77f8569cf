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
    with ``word``, unless it may hold other ones only.
    """
    kinds: list[dict[str, Any]] = [{}, {}]
    if await superuser.fetchval(SOFT_DELETED, table):
        kinds += [{"deleted_at": clock.now()}] * 2
    return [await _plant(superuser, table, tenant, word, also) for also in kinds]


async def _plant(superuser: asyncpg.Connection, table: str, tenant: UUID, word: str, also: dict[str, Any]) -> UUID:
    row = await plausible(superuser, table, "tenant_id", tenant, word)
    for reference in await superuser.fetch(REFERENCES, table):
        if reference["name"] in row:
            row[reference["name"]] = await _target(superuser, reference, tenant, word)
    await insert(superuser, table, row | also)
    found: UUID = row["id"]
    return found


async def _target(superuser: asyncpg.Connection, reference: asyncpg.Record, tenant: UUID, word: str) -> Any:
    """The first that there is: whatever refers to one of the organization's, refers to the same one."""
    found = f"SELECT {reference['key']} FROM {reference['target']}"
    if not reference["paired"]:
        return await superuser.fetchval(f"{found} LIMIT 1")
    found += " WHERE tenant_id = $1 ORDER BY id LIMIT 1"
    if await superuser.fetchval(found, tenant) is None:
        await stock(superuser, reference["target"], tenant, word)
    return await superuser.fetchval(found, tenant)


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
