"""The bell, which wakes the relay and for which nobody waits."""

import asyncio
import gc
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisAway

from insula.core.http.admission import BREATH_SECONDS, Bell


@pytest.mark.parametrize("trouble", [RedisAway(), OSError(), RuntimeError("the handler is closed")], ids=repr)
async def test_a_ring_that_nobody_hears_is_nobodys_trouble(trouble: Exception) -> None:
    """Nor one that was under way while the process closed its connections."""
    rung, complaints = 0, list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))

    class Away:
        async def publish(self, *_: object) -> None:
            nonlocal rung
            rung += 1
            raise trouble

    away: Any = Away()
    bell = Bell(away)
    for _ in range(2):
        bell.ring()
        await asyncio.sleep(2 * BREATH_SECONDS)
    gc.collect()
    assert (rung, complaints) == (2, [])
