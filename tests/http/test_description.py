"""The API's description is written when somebody asks for it, once, while others are served."""

import asyncio
import threading
from typing import Any

from insula.core.http.documentation import Description


async def test_whoever_asks_while_it_is_written_waits_for_it_and_nobody_else_does() -> None:
    described, go_on = [], threading.Event()

    def describe() -> dict[str, Any]:
        described.append(threading.current_thread())
        assert go_on.wait(10)
        return {"openapi": "3.1.0"}

    description = Description(describe)
    readers = [asyncio.create_task(description.read()) for _ in range(5)]
    async with asyncio.timeout(10):
        while not described:
            await asyncio.sleep(0.001)  # the loop goes on
    go_on.set()
    assert await asyncio.gather(*readers) == [b'{"openapi":"3.1.0"}'] * 5
    assert await description.read() == description.write()
    assert len(described) == 1
    assert described[0] is not threading.main_thread()
