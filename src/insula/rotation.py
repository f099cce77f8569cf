"""New keys for a running installation, without a request failing over it."""

import asyncio
import time
from typing import Final

import asyncpg

_POLL_SECONDS: Final = 0.2

# Every transaction holds the lock of its own virtual id, which everybody may see: CREATE INDEX CONCURRENTLY waits so.
_UNDER_WAY: Final = """
SELECT virtualtransaction FROM pg_locks
 WHERE locktype = 'virtualxid' AND granted AND mode = 'ExclusiveLock' AND pid <> pg_backend_pid()
"""


class RotationError(Exception):
    """The rotation did not end; both keys stay good, and it can be ended later."""


async def rotate_door_key(owner_url: str, *, patience: float = 120.0) -> float:
    """Sign with a new key, and forget the old one when nobody can still need it. Returns the seconds that took.

    Transactions that began before keep what the old key signed. Raises RotationError when one of them does not end
    within ``patience`` seconds. A rotation that was interrupted is ended first.
    """
    connection = await asyncpg.connect(owner_url)
    started = time.monotonic()
    try:
        if await connection.fetchval("SELECT EXISTS (SELECT FROM app.door_key WHERE previous_ipad IS NOT NULL)"):
            await _forget(connection, started + patience)
        await connection.execute("SELECT app.rotate_door_key()")
        await _forget(connection, started + patience)
    finally:
        await connection.close()
    return time.monotonic() - started


async def _forget(connection: asyncpg.Connection, until: float) -> None:
    waited_for = {row[0] for row in await connection.fetch(_UNDER_WAY)}
    while waited_for:
        if time.monotonic() > until:
            raise RotationError(f"{len(waited_for)} transactions of before the rotation are still under way")
        await asyncio.sleep(_POLL_SECONDS)
        waited_for &= {row[0] for row in await connection.fetch(_UNDER_WAY)}
    await connection.execute("SELECT app.forget_previous_door_key()")
