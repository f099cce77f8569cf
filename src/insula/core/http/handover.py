"""Long answers are handed to the server in pieces, as fast as they are read, and no slower than anybody may read."""

import asyncio
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

PIECE: Final = 16_384
"""Bytes. The server keeps two or three of them for a caller who does not read."""
GRACE_SECONDS: Final = 30.0
SLOWEST: Final = 65_536
"""Bytes a second, which an answer may take longer than by the grace."""

_log = structlog.get_logger("insula.handover")


class Handover:
    """Stands outermost: the server takes a whole answer at once, and keeps what is not read until somebody does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _Reader(send) if scope["type"] == ScopeType.HTTP else send)


class _Reader:
    """Who an answer is for. Whoever does not read it gets no more of it: the server closes what ends too early."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._left = False

    async def __call__(self, message: Message) -> None:
        if self._left:
            return
        if message["type"] != "http.response.body" or len(message.get("body", b"")) <= PIECE:
            await self._send(message)
            return
        try:
            async with asyncio.timeout(GRACE_SECONDS + len(message["body"]) / SLOWEST):
                await self._hand_over(message)
        except TimeoutError:
            self._left = True
            _log.warning("an answer was not read in time", bytes=len(message["body"]))

    async def _hand_over(self, message: Any) -> None:
        body, more = memoryview(message["body"]), message.get("more_body", False)
        for begin in range(0, len(body), PIECE):
            last = begin + PIECE >= len(body)
            piece = bytes(body[begin : begin + PIECE])
            await self._send({"type": "http.response.body", "body": piece, "more_body": more or not last})
