"""An API process of its own, as `insula api` runs it, and a client that costs the machine next to nothing."""

import asyncio
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import msgspec
import psutil

from insula.embedded.process import free_port
from insula.settings import Settings, variables

_START_SECONDS: Final = 60


class Api(msgspec.Struct, frozen=True):
    """A running process."""

    process: psutil.Process
    port: int
    ready_seconds: float
    """From its start to its first answer."""


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[Api]:
    """`insula api` with these settings on a port of its own, until the end of the block."""
    settings = msgspec.structs.replace(settings, port=free_port(), metrics_port=0, log_level="error")
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "insula", "api", env={**os.environ, **variables(settings)}
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not await _answers(settings.port):
                assert process.returncode is None, "the API ended while it was starting"
                await asyncio.sleep(0.05)
        yield Api(psutil.Process(process.pid), settings.port, time.perf_counter() - started)
    finally:
        process.terminate()
        await process.wait()


class Client:
    """One kept connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int, trust: ssl.SSLContext | None = None) -> Self:
        """``trust`` is what it needs to believe the server's certificate, where it has one."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=trust))

    async def request(self, method: str, path: str, *, token: str = "", body: Any = None, key: str = "") -> int:
        """Returns the status."""
        content = b"" if body is None else msgspec.json.encode(body)
        head = [f"{method} {path} HTTP/1.1", "host: insula.test", f"content-length: {len(content)}"]
        if token:
            head.append(f"authorization: Bearer {token}")
        if key:
            head.append(f"idempotency-key: {key}")
        if content:
            head.append("content-type: application/json")
        self._writer.write("\r\n".join([*head, "", ""]).encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(int(length.partition(b":")[2]))
        return int(answer.split(b" ", 2)[1])

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def _answers(port: int) -> bool:
    try:
        client = await Client.connect(port)
        status = await client.request("GET", "/readyz")
        await client.close()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return status == 200
