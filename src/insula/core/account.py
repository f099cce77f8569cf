"""A person's own record: what they did to their account, outside of all organizations."""

from typing import Any, Final

import asyncpg
import msgspec

_WRITE: Final = "SELECT app.record_mine($1::text::jsonb)"


async def write(driver: asyncpg.Connection, events: list[dict[str, Any]]) -> None:
    """Add to the record of the context's person; whose it is and when it was, the door says."""
    await driver.execute(_WRITE, msgspec.json.encode(events).decode())
