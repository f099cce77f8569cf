"""One caller takes all that the server process has: its memory, its connections, its database."""

import asyncio
import resource
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from argon2 import PasswordHasher

from insula.core.passwords import PARAMETERS
from insula.settings import Settings
from tests.attacks.test_authentication import give_modern_password
from tests.benchmarks.process import Client
from tests.factories import Member, World
from tests.features.signing_in import PASSWORD
from tests.journeys.test_processes import ROOT, Process, answers, environment, free_port

WORKSHOP = """
import asyncio
from insula import app, server, settings
from tests.workshop import FEATURE
app.FEATURES = (*app.FEATURES, FEATURE)
asyncio.run(server.run(settings.load()))
"""
CAP = 64 << 20
CLAIMED = 1 << 30
FLOOD = 500
"""Sign-ins a second; the hashes of as many at once would take 9 GiB."""
FLOOD_BYTES = 256 << 20
CRUMBS_BYTES = 32 << 20
"""What fifty bodies may leave in the process; kept as they come, their 16,000 pieces each took three times as much."""
PIECE = b" " * 65_536
ROUNDS = 12
FLOOR_SECONDS = 0.02
"""A slower p99 than this is looked at: below it, noise is larger than any share."""


@asynccontextmanager
async def serving(settings: Settings, folder: Path, *program: str, **changes: object) -> AsyncIterator[Process]:
    """`insula api`, or a ``program`` that serves, until the end of the block."""
    variables = environment(settings, port=free_port(), **changes)
    variables["PYTHONPATH"] += f":{ROOT}"
    api = Process("api", variables, folder / "api.log", *program)
    try:
        await answers(f"http://127.0.0.1:{variables['INSULA_PORT']}")
        yield api
    finally:
        await asyncio.to_thread(api.end)


@pytest.mark.attack(124)
async def test_a_body_without_end_is_refused_before_it_fills_the_memory(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    owner = await world.owner()
    async with serving(settings, tmp_path, request_max_bytes=CAP) as api:
        memory = psutil.Process(api.process.pid).memory_info
        assert (await upload(api.port, owner, "content-length: 2", at_most=2))[0].startswith(b"HTTP/1.1 400 ")
        before = peak = memory().rss

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, memory().rss)
                await asyncio.sleep(0.002)

        watching = asyncio.create_task(watch())
        for length in ("transfer-encoding: chunked", f"content-length: {CLAIMED}"):
            answer, sent = await upload(api.port, owner, length, at_most=CLAIMED)
            assert answer.startswith(b"HTTP/1.1 413 "), answer
            assert b"content-type: application/problem+json" in answer
            assert b'"code":"too_large"' in answer
            assert sent < 2 * CAP  # what is on its way when the answer comes is in the buffers of two sockets
        watching.cancel()
        assert peak - before < 1.1 * CAP


async def upload(port: int, owner: Member, length: str, *, at_most: int) -> tuple[bytes, int]:
    """Send until the server has had enough; returns its answer, and how many bytes of the body left."""
    head = head_of(owner, length)
    wire = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if "chunked" in length else PIECE
    loop, sent = asyncio.get_running_loop(), 0

    async def send() -> None:
        nonlocal sent
        with suppress(ConnectionError):
            await loop.sock_sendall(connection, head)
            while sent < at_most:
                await loop.sock_sendall(connection, wire[:at_most])
                sent += len(PIECE)

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setblocking(False)
        sending = asyncio.create_task(send())
        answer = b""
        # Asyncio's streams forget what was received when sending fails; the socket does not.
        with suppress(ConnectionError):
            while part := await asyncio.wait_for(loop.sock_recv(connection, 65_536), 30):
                answer += part
        await sending
    return answer, sent


def head_of(owner: Member, length: str) -> bytes:
    """Of a request that makes a project; ``length`` is the header that tells how long its body is."""
    return (
        f"POST {owner.url('/projects')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {owner.person.token}\r\n"
        f"content-type: application/json\r\nconnection: close\r\n{length}\r\n\r\n"
    ).encode()


@pytest.mark.attack(124)
async def test_bodies_in_crumbs_are_refused_before_what_receives_them_is_used_up(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    owner = await world.owner()
    async with serving(settings, tmp_path) as api:
        memory = psutil.Process(api.process.pid).memory_info
        assert (await crumble(api.port, owner, 1))[:12] == b"HTTP/1.1 400"
        before = memory().rss
        answers = await asyncio.gather(*(crumble(api.port, owner, 16_000) for _ in range(50)))
        assert all(answer.startswith(b"HTTP/1.1 400 ") and b"small pieces" in answer for answer in answers)
        assert memory().rss - before < CRUMBS_BYTES


async def crumble(port: int, owner: Member, count: int) -> bytes:
    """Send a body in chunks of one byte, without its end until somebody answers; returns the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = head_of(owner, "transfer-encoding: chunked")
    writer.write(head + b"1\r\n \r\n" * count + (b"0\r\n\r\n" if count == 1 else b""))
    answer = b""
    with suppress(ConnectionError):
        while part := await asyncio.wait_for(reader.read(65_536), 30):
            answer += part
    writer.close()
    return answer


@pytest.mark.attack(128)
async def test_a_thousand_idle_and_slow_connections_keep_nobody_out(settings: Settings, tmp_path: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))  # what processes usually begin with
    async with serving(settings, tmp_path) as api:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the other ends are ours
        idle = await asyncio.gather(*(Client.connect(api.port) for _ in range(1000)))
        for client in idle[:50]:
            assert await client.request("GET", "/livez") == 200
        slow = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(250)]
        writers = [writer for _, writer in slow]
        dribbling = asyncio.create_task(dribble(writers))
        try:
            for _ in range(20):
                began = time.monotonic()
                newcomer = await Client.connect(api.port)
                assert await newcomer.request("GET", "/readyz") == 200
                assert time.monotonic() - began < 5
                await newcomer.close()
            # However busily they send their headers, they are cut off.
            cut = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in slow)), 20)
            assert all(not answer or b" 408 " in answer for answer in cut)
        finally:
            dribbling.cancel()
            for writer in (*writers, *(client._writer for client in idle)):
                writer.transport.abort()


async def dribble(writers: list[asyncio.StreamWriter]) -> None:
    """A request line, and a header without end, a byte at a time."""
    for writer in writers:
        writer.write(b"POST /v1/auth/sign-in HTTP/1.1\r\nhost: x\r\nx-slow: ")
    while True:
        await asyncio.sleep(0.5)
        for writer in writers:
            if not writer.is_closing():
                writer.write(b"x")


@pytest.mark.attack(131)
async def test_a_flood_of_sign_ins_is_shed_while_memory_stays_flat_and_others_are_served(
    settings: Settings, world: World, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seconds: int = pytestconfig.getoption("--flood-seconds", 3)
    owner = await world.owner()
    hashed = PasswordHasher.from_parameters(PARAMETERS).hash(PASSWORD)
    await give_modern_password(world, owner.person, hashed)
    async with serving(settings, tmp_path) as api:
        flooding = [await Client.connect(api.port) for _ in range(FLOOD)]
        client, memory = await Client.connect(api.port), psutil.Process(api.process.pid).memory_info
        right = {"email": owner.person.email, "password": PASSWORD}
        assert await client.request("POST", "/v1/auth/sign-in", body=right) == 200
        before = peak = memory().rss
        statuses: Counter[int] = Counter()
        flood = [asyncio.create_task(guess(each, number, statuses)) for number, each in enumerate(flooding)]
        until, served = time.monotonic() + seconds, 0
        while time.monotonic() < until or not (statuses[401] and statuses[429]):
            assert time.monotonic() < until + 120, f"nothing is shed, or nobody is answered: {statuses}"
            assert await client.request("GET", owner.url("/projects"), token=owner.person.token) == 200
            assert not any(task.done() for task in flood)
            served, peak = served + 1, max(peak, memory().rss)
            await asyncio.sleep(0.01)
        for task, each in zip(flood, flooding, strict=True):
            task.cancel()
            each._writer.transport.abort()
        await asyncio.gather(*flood, return_exceptions=True)
        print(f"{statuses} in {seconds} s, {served} other requests, {(peak - before) >> 20} MiB more")
        assert statuses.keys() == {401, 429}
        assert peak - before < FLOOD_BYTES
        async with asyncio.timeout(60):
            while await client.request("POST", "/v1/auth/sign-in", body=right) == 429:
                await asyncio.sleep(0.2)
        assert await client.request("POST", "/v1/auth/sign-in", body=right) == 200
        await client.close()


async def guess(client: Client, number: int, statuses: Counter[int]) -> None:
    """A sign-in each second, of nobody, until it is cancelled."""
    body = {"email": f"nobody{number}@example.com", "password": PASSWORD}
    await asyncio.sleep(number / FLOOD)
    while True:
        again = asyncio.create_task(asyncio.sleep(1))
        statuses[await client.request("POST", "/v1/auth/sign-in", body=body)] += 1
        await again


@pytest.mark.attack(129)
async def test_one_organizations_slow_queries_do_not_slow_the_others_down(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    slow, other = await world.owner(), await world.owner()
    async with serving(settings, tmp_path, "-c", WORKSHOP, pool_size=8) as api:
        await p99(api.port, other)
        rounds = []
        # On a crowded machine every other round is spoiled; where a share is not kept, others get no answer in the first.
        for _ in range(ROUNDS):
            alone = await p99(api.port, other)
            async with flood(api.port, slow, 200) as statuses:
                beside = await p99(api.port, other)
            assert statuses <= {200, 503}
            rounds.append((alone, beside))
            if beside < 2 * max(alone, FLOOR_SECONDS):
                return
        pytest.fail(f"alone and beside 200 slow queries, seconds: {rounds}")


async def p99(port: int, member: Member, samples: int = 300) -> float:
    """Of reading a page, in seconds."""
    client, took = await Client.connect(port), []
    async with asyncio.timeout(60):
        for _ in range(samples):
            began = time.perf_counter()
            assert await client.request("GET", member.url("/projects"), token=member.person.token) == 200
            took.append(time.perf_counter() - began)
    await client.close()
    return sorted(took)[samples * 99 // 100]


@asynccontextmanager
async def flood(port: int, member: Member, count: int) -> AsyncIterator[set[int]]:
    """So many slow queries at any time, from when the first of them was answered; what they were answered."""
    clients = await asyncio.gather(*(Client.connect(port) for _ in range(count)))
    statuses: set[int] = set()

    async def nap(client: Client) -> None:
        while True:
            path = member.url("/workshop/naps?seconds=0.2")
            statuses.add(await client.request("GET", path, token=member.person.token))

    naps = [asyncio.create_task(nap(client)) for client in clients]
    try:
        async with asyncio.timeout(60):
            while 200 not in statuses:
                await asyncio.sleep(0.05)
        yield statuses
    finally:
        for task, client in zip(naps, clients, strict=True):
            task.cancel()
            client._writer.transport.abort()
        await asyncio.gather(*naps, return_exceptions=True)
