"""Callers who ask for much and do not read it: their answers fill no memory, and keep no connection from others."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from insula.core.http import handover
from insula.core.http.handover import PIECE, Handover
from insula.core.ids import to_uuid
from insula.settings import Settings
from tests.attacks.test_exhausted_server import serving
from tests.benchmarks.process import Client
from tests.factories import Member, World

ANSWER = 100 * 60_000
"""Bytes of a page of large events, about."""
READERS = 40
HURRIED = """
import asyncio
from insula import server, settings
from insula.core.http import handover
handover.GRACE_SECONDS, handover.SLOWEST = 0.5, 1 << 30
asyncio.run(server.run(settings.load()))
"""


async def with_large_events(world: World) -> Member:
    """The owner of an organization whose page of a hundred events is as large as a page may be."""
    owner = await world.owner()
    await world.superuser.execute(
        "INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, data, context)"
        " SELECT $1, (app.ids_of_now(1))[1], 'project.created', 1, 'system', 'project',"
        " jsonb_build_object('name', 'P', 'key', 'PP', 'status', 'active', 'team_id', NULL,"
        " 'metadata', jsonb_build_object('filler', repeat('x', 60000))), '{}' FROM generate_series(1, 110)",
        to_uuid("org", owner.organization_id),
    )
    return owner


@asynccontextmanager
async def asking(port: int, owner: Member) -> AsyncIterator[socket.socket]:
    """A connection that has asked for the page, and takes little of it before somebody reads."""
    asked = f"GET {owner.url('/events?limit=100')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {owner.person.token}\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", port))
        await loop.sock_sendall(connection, asked.encode())
        yield connection


async def first_line(connection: socket.socket) -> bytes:
    answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 64), 30)
    return answer.split(b"\r\n")[0]


@pytest.mark.attack(128)
async def test_answers_that_nobody_reads_fill_no_memory_and_keep_no_connection(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    greedy, other = await with_large_events(world), await world.owner()
    async with serving(settings, tmp_path, pool_size=4) as api, AsyncExitStack() as stack:
        client = await Client.connect(api.port)
        for owner in (greedy, other):
            assert await client.request("GET", owner.url("/projects"), token=owner.person.token) == 200
        before = psutil.Process(api.process.pid).memory_info().rss
        readers = [await stack.enter_async_context(asking(api.port, greedy)) for _ in range(READERS)]
        lines = [await first_line(reader) for reader in readers]
        assert {line.split()[1] for line in lines} == {b"200", b"429"}
        grown = psutil.Process(api.process.pid).memory_info().rss - before
        assert grown < READERS * ANSWER / 2, f"{grown >> 20} MiB"
        for owner in (greedy, other):
            assert await client.request("GET", owner.url("/projects"), token=owner.person.token) == 200
        await client.close()


@pytest.mark.attack(128)
async def test_however_many_members_do_not_read_strangers_get_long_answers(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    greedy, stranger = await with_large_events(world), await with_large_events(world)
    crowd = [await world.member(greedy.organization_id, "admin") for _ in range(6)]
    async with serving(settings, tmp_path, pool_size=4) as api, AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(asking(api.port, one)) for one in crowd * 2]
        assert {(await first_line(reader)).split()[1] for reader in readers} == {b"200", b"429"}
        client = await Client.connect(api.port)
        stack.push_async_callback(client.close)
        page = stranger.url("/events?limit=100")
        assert await client.request("GET", page, token=stranger.person.token) == 200


async def test_who_does_not_read_in_time_is_left(settings: Settings, world: World, tmp_path: Path) -> None:
    greedy = await with_large_events(world)
    async with serving(settings, tmp_path, "-c", HURRIED) as api, asking(api.port, greedy) as reader:
        await asyncio.to_thread(api.until, "an answer was not read in time")
        got = 0
        while part := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(reader, 1 << 20), 30):
            got += len(part)
        assert 0 < got < ANSWER


@pytest.mark.parametrize("more", [False, True])
async def test_a_long_answer_is_handed_over_in_pieces(more: bool) -> None:
    body, sent = bytes(range(256)) * 256 + b"end", []

    async def app(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": more})

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await Handover(app)({"type": "http"}, None, send)
    start, *pieces = sent
    assert start["type"] == "http.response.start"
    assert b"".join(piece["body"] for piece in pieces) == body
    assert max(len(piece["body"]) for piece in pieces) == PIECE
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [more]


async def test_nothing_more_is_sent_to_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(handover, "SLOWEST", 1 << 30)
    sent = []

    async def app(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.body", "body": bytes(3 * PIECE), "more_body": True})
        await send({"type": "http.response.body", "body": b"the rest"})

    async def send(message: dict[str, object]) -> None:
        sent.append(len(message["body"]))
        if len(sent) == 2:
            await asyncio.Event().wait()

    with capture_logs() as lines:
        await Handover(app)({"type": "http"}, None, send)
    assert sent == [PIECE, PIECE]
    assert [line["event"] for line in lines] == ["an answer was not read in time"]
