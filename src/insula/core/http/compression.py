"""Answers in fewer bytes: zstd (RFC 8878) where the client takes it, else gzip."""

from io import BytesIO
from typing import Any, Final

import zstandard
from litestar.config.compression import CompressionConfig
from litestar.enums import ScopeType
from litestar.middleware.compression import CompressionMiddleware
from litestar.middleware.compression.facade import CompressionFacade
from litestar.types import ASGIApp, Receive, Scope, Send

_MINIMUM: Final = 1024
"""Bytes; below, the header costs what the body gains."""


class Zstd(CompressionFacade):
    """Litestar's way to a compressor."""

    encoding = "zstd"

    def __init__(self, buffer: BytesIO, compression_encoding: str, config: CompressionConfig) -> None:  # noqa: ARG002  # Litestar's signature
        self.buffer = buffer
        self._compressor = zstandard.ZstdCompressor().compressobj()

    def write(self, body: bytes) -> None:
        self.buffer.write(self._compressor.compress(body))
        self.buffer.write(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    def close(self) -> None:
        self.buffer.write(self._compressor.flush())


class Compression(CompressionMiddleware):
    """Chooses by Accept-Encoding as RFC 9110, section 12.5.3 says; Litestar would read a refusal as a wish."""

    def __init__(self, app: ASGIApp) -> None:
        config = CompressionConfig(backend="zstd", compression_facade=Zstd, minimum_size=_MINIMUM)
        super().__init__(app, config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and (encoding := preferred(scope)):
            send = self.create_compression_send_wrapper(send, encoding, scope)
        await self.app(scope, receive, send)


def preferred(scope: Any) -> str | None:
    """The best of our encodings that the client accepts; of equally welcome ones zstd."""
    header = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding").decode("latin-1")
    if not header:
        return None
    weights = dict(_weighed(entry) for entry in header.lower().split(","))
    anything = weights.get("*", 0.0)
    wanted = {encoding: weights.get(encoding, anything) for encoding in ("zstd", "gzip")}
    best = max(wanted, key=wanted.__getitem__)
    return best if wanted[best] > 0 else None


def _weighed(entry: str) -> tuple[str, float]:
    coding, _, parameters = entry.partition(";")
    name, _, weight = parameters.partition("=")
    try:
        return coding.strip(), float(weight) if name.strip() == "q" else 1.0
    except ValueError:
        return coding.strip(), 0.0
