"""Answers in fewer bytes: zstd (RFC 8878) where the client takes it, else gzip."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
import zstandard
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_MINIMUM: Final = 1024
"""Bytes; below, the header costs what the body gains."""

_MUCH: Final = 262_144
"""Bytes; more is compressed beside the event loop, where everybody else's requests wait."""

_GZIP_LEVEL: Final = 1
"""Level 9 makes a tenth less of names in rare scripts, for fifteen times the work."""

_GZIP: Final = zlib.MAX_WBITS | 16
"""Tells zlib to write gzip's header and trailer (RFC 1952) instead of its own."""


class _Coding(msgspec.Struct, frozen=True):
    """How to begin, and how to flush a piece that others follow."""

    begin: Callable[[], Any]
    between: int


_CODINGS: Final = {
    "zstd": _Coding(lambda: zstandard.ZstdCompressor().compressobj(), zstandard.COMPRESSOBJ_FLUSH_BLOCK),
    "gzip": _Coding(lambda: zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP), zlib.Z_SYNC_FLUSH),
}


class Compression(ASGIMiddleware):
    """Chooses by Accept-Encoding as RFC 9110, section 12.5.3 says.

    Litestar's own would read a refusal as a wish, and compress with gzip's slowest level while everybody waits.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        encoding = preferred(scope)
        await next_app(scope, receive, _Compressed(send, encoding) if encoding else send)


class _Compressed:
    """Sends an answer on in fewer bytes: a whole one with its length, a stream piece by piece."""

    def __init__(self, send: Send, encoding: str) -> None:
        self._send, self._encoding = send, encoding
        self._coding = _CODINGS[encoding]
        self._compressor: Any = None
        self._start: Any = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._start is None:
            await self._send(await self._smaller(message) if self._compressor else message)
        else:
            start, self._start = self._start, None
            if message.get("more_body") or len(message["body"]) >= _MINIMUM:
                self._compressor = self._coding.begin()
                message = await self._smaller(message)
                self._describe(start, message)
            await self._send(start)
            await self._send(message)

    async def _smaller(self, message: Any) -> Any:
        body, more = message["body"], message.get("more_body", False)
        squeezed = (
            await asyncio.to_thread(self._squeeze, body, more) if len(body) > _MUCH else self._squeeze(body, more)
        )
        return {**message, "body": squeezed}

    def _squeeze(self, body: bytes, more: bool) -> bytes:
        flush = (self._coding.between,) if more else ()
        packed: bytes = self._compressor.compress(body) + self._compressor.flush(*flush)
        return packed

    def _describe(self, start: Any, first: Any) -> None:
        headers = MutableScopeHeaders(start)
        headers["Content-Encoding"] = self._encoding
        headers.extend_header_value("vary", "Accept-Encoding")
        if first.get("more_body"):
            del headers["Content-Length"]
        else:
            headers["Content-Length"] = str(len(first["body"]))


def preferred(scope: Any) -> str | None:
    """The best of our encodings that the client accepts; of equally welcome ones zstd."""
    header = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding").decode("latin-1")
    if not header:
        return None
    weights = dict(_weighed(entry) for entry in header.lower().split(","))
    anything = weights.get("*", 0.0)
    wanted = {encoding: weights.get(encoding, anything) for encoding in _CODINGS}
    best = max(wanted, key=wanted.__getitem__)
    return best if wanted[best] > 0 else None


def _weighed(entry: str) -> tuple[str, float]:
    coding, _, parameters = entry.partition(";")
    name, _, weight = parameters.partition("=")
    try:
        return coding.strip(), float(weight) if name.strip() == "q" else 1.0
    except ValueError:
        return coding.strip(), 0.0
