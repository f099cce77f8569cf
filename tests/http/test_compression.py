"""Compressing an answer costs its reader little, and nobody else anything."""

import asyncio
import gzip
from typing import Any

import pytest
import zstandard
from litestar.types import ASGIApp

from insula.core.http.compression import Compression

LARGE = 2_000_000
SLOWEST = 2


def answering(*pieces: bytes) -> ASGIApp:
    """A program whose every answer comes in these pieces."""

    async def answer(_: Any, __: Any, send: Any) -> None:
        length = [] if len(pieces) > 1 else [(b"content-length", str(len(pieces[0])).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    return answer


async def ask(program: ASGIApp, accepted: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """The headers and the pieces of its answer, compressed."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "headers": [(b"accept-encoding", accepted)]}
    await Compression().handle(scope, None, send, program)  # type: ignore[arg-type]  # it asks for nothing
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
    return {name.lower(): value for name, value in sent[0]["headers"]}, [message["body"] for message in sent[1:]]


def unpacked(accepted: bytes, raw: bytes) -> bytes:
    return gzip.decompress(raw) if accepted == b"gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(raw)


def text(length: int) -> bytes:
    """Names in a rare script, on which gzip's slowest level works longest."""
    state, letters = 1, bytearray()
    while len(letters) < length:
        state = state * 1_103_515_245 + 12_345 & 0x7FFFFFFF
        letters += chr(0x10000 + (state >> 12) % 4096).encode()
    return bytes(letters)


@pytest.mark.parametrize("accepted", [b"gzip", b"zstd"])
async def test_others_are_served_while_a_large_answer_is_compressed(accepted: bytes) -> None:
    body = text(LARGE)
    asked = asyncio.create_task(ask(answering(body), accepted))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    headers, pieces = await asked
    assert turns > 20, "the event loop stood still"
    assert unpacked(accepted, b"".join(pieces)) == body
    assert headers[b"content-length"] == str(len(pieces[0])).encode()


async def test_gzip_does_not_work_its_hardest() -> None:
    """RFC 1952, section 2.3.1: the ninth byte says which way was chosen, 2 is the slowest."""
    _, (packed,) = await ask(answering(text(50_000)), b"gzip")
    assert packed[8] != SLOWEST


@pytest.mark.parametrize("accepted", [b"gzip", b"zstd"])
async def test_a_stream_is_compressed_piece_by_piece(accepted: bytes) -> None:
    body = [b"first " * 10, text(300_000), b" last"]
    headers, pieces = await ask(answering(*body), accepted)
    assert b"content-length" not in headers
    assert headers[b"content-encoding"] == accepted
    assert len(pieces) == len(body)
    if accepted == b"zstd":
        assert zstandard.ZstdDecompressor().decompressobj().decompress(pieces[0]) == body[0], "it waits for the rest"
    assert unpacked(accepted, b"".join(pieces)) == b"".join(body)
