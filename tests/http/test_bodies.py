"""How a body comes in: whole or in pieces, it is one body of one kind; in crumbs it is none."""

from typing import Any

import pytest

from insula.core.errors import InvalidRequest
from insula.core.http.bodies import Incoming
from tests.factories import World
from tests.http.test_problems import problem

CRUMBS = 1024
"""As many as anybody may send."""


def coming(*pieces: bytes, most: int = 1 << 20) -> Incoming:
    """A body that arrives in these pieces."""
    last = len(pieces) - 1
    messages = iter({"type": "http.request", "body": piece, "more_body": at < last} for at, piece in enumerate(pieces))

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    return Incoming({"headers": []}, receive, most)  # type: ignore[typeddict-item]  # nothing else is read


async def test_however_it_comes_it_is_read_as_one_and_again_from_the_start() -> None:
    body, told = coming(b"a", b"", b"bc"), list[int]()
    assert await body.receive(100, told.append)
    assert (told, body.length, body.content) == ([1, 0, 2], 3, b"abc")
    whole = {"type": "http.request", "body": b"abc", "more_body": False}
    for _ in range(2):
        assert await body() == whole
        body.rewind()
    await body()
    assert await body() == {"type": "http.disconnect"}


async def test_crumbs_are_taken_while_they_are_few_beside_what_they_hold() -> None:
    assert await coming(*[b"a"] * CRUMBS).receive(16_384)
    assert await coming(*[b"a" * 256] * 4096).receive(1 << 20)
    with pytest.raises(InvalidRequest, match="small pieces"):
        await coming(*[b"a"] * 16_000).receive(16_384)
    with pytest.raises(InvalidRequest, match="small pieces"):
        await coming(*[b""] * 16_000).receive(16_384)


@pytest.mark.parametrize("second", ["text/plain", "application/json"])
async def test_a_body_of_two_kinds_is_refused(world: World, second: str) -> None:
    """A proxy in front may have gone by the other one."""
    owner = await world.owner()
    headers = [("content-type", "application/json"), ("content-type", second)]
    answer = await owner.client.post(owner.url("/projects"), content=b'{"name": "x", "key": "XX"}', headers=headers)
    assert problem(answer, 400, "invalid_request")["errors"] == [
        {"pointer": "header/Content-Type", "code": "repeated", "detail": "given more than once"}
    ]
