"""A request names one host (RFC 9112, section 3.2): with two of them, others in front may have gone by the other one."""

import asyncio
import json
from pathlib import Path

import pytest

from insula.settings import Settings
from tests.attacks.test_exhausted_server import serving
from tests.factories import World

WRONG = {
    "none": b"",
    "an empty one": b"host:\r\n",
    "two": b"host: a\r\nhost: b\r\n",
    "the same twice": b"Host: a\r\nhost: a\r\n",
    "two in one line": b"host: a, b\r\n",
    "a path": b"host: a/v1\r\n",
    "somebody at a host": b"host: me@a\r\n",
    "a letter of no host": b"host: \xc3\xa4\r\n",
}
RIGHT = {"name": "a.example.com", "port": "a.example.com:8000", "address": "[::1]:8000", "other": "a_b"}


async def asked(port: int, head: bytes) -> tuple[int, bytes]:
    """The status and the body of what a server says to a request that is the last of its connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"connection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


async def test_a_request_that_names_no_host_or_several_is_refused_wherever_it_goes(
    settings: Settings, tmp_path: Path
) -> None:
    async with serving(settings, tmp_path) as api:
        for name, header in WRONG.items():
            for path in (b"/livez", b"/v1/me", b"/nothing"):
                status, body = await asked(api.port, b"GET " + path + b" HTTP/1.1\r\n" + header)
                assert status == 400, (name, path, body)
                problem = json.loads(body)
                assert (problem["code"], problem["errors"][0]["pointer"]) == ("invalid_request", "header/Host"), name
        status, _ = await asked(api.port, b"GET /livez HTTP/1.0\r\nhost: a\r\nhost: b\r\n")
        assert status == 400
        for head in (b"GET /livez HTTP/1.0\r\n", b"GET http://b/livez HTTP/1.1\r\nhost: a\r\n"):
            assert (await asked(api.port, head))[0] == 200, head


@pytest.mark.parametrize("host", RIGHT.values(), ids=RIGHT)
async def test_any_one_host_will_do(world: World, host: str) -> None:
    answer = await world.client().get("/livez", headers={"host": host})
    assert answer.status_code == 200


async def test_the_refusal_is_an_answer_like_any_other(world: World) -> None:
    request = world.client().build_request("GET", "/livez")
    del request.headers["host"]
    answer = await world.client().send(request)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "missing")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
