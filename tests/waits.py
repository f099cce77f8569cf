"""Requests that stand behind a lock."""

import asyncio
from typing import Final

import asyncpg

_WAITING: Final = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
)


async def somebody_waits(superuser: asyncpg.Connection) -> None:
    """Return as soon as a transaction waits for a lock in this test's database."""
    for _ in range(200):
        if await superuser.fetchval(_WAITING):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody waits")
