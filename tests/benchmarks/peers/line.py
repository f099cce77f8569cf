"""A kept connection that costs the machine next to nothing: prepared bytes out, a status and a body back."""

import asyncio
from typing import Self


class Line:
    """One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; returns the status and the body of its answer."""
        self._writer.write(request)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        head = answer.lower()
        status = int(answer[9:12])
        _, found, rest = head.partition(b"content-length:")
        if found:
            return status, await self._reader.readexactly(int(rest.partition(b"\r")[0]))
        if b"transfer-encoding: chunked" not in head:
            return status, b""
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return status, body

    def close(self) -> None:
        self._writer.close()
