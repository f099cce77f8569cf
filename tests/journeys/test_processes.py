"""The API and the worker as processes: what they refuse to start with, and how they stop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from insula.embedded.valkey import EmbeddedValkey
from insula.settings import Settings, variables
from tests.canaries import WATCH
from tests.chaos.postbox import Postbox
from tests.conftest import address, clone, urls_of
from tests.factories import Member, World

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(settings: Settings, **changes: object) -> dict[str, str]:
    """The variables that make these settings."""
    changed = msgspec.structs.replace(settings, **{"metrics_port": 0, "log_json": True, "log_level": "info"} | changes)
    base = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
    return {**base, **variables(changed), "PYTHONPATH": str(ROOT / "src")}


class Process:
    """One `insula` command in the background, or another ``program``; its output is kept."""

    def __init__(self, command: str, variables: dict[str, str], log: Path, *program: str) -> None:
        self.log = log
        self.port = int(variables["INSULA_PORT"])
        WATCH.said_in(log)
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-P", *(program or ("-m", "insula", command))],
                env=variables,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def until(self, text: str, seconds: float = 30) -> str:
        """Wait until it says something; returns all it said."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            said = self.log.read_text()
            if text in said:
                return said
            time.sleep(0.05)
        pytest.fail(f"never said {text!r}:\n{self.log.read_text()}")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.end()


async def answers(url: str) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(600):
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    pytest.fail("the API never became ready")


async def test_a_request_under_way_survives_sigterm_and_new_ones_are_refused(
    world: World, settings: Settings, started: list[Process], tmp_path: Path
) -> None:
    owner, port = await world.owner(), free_port()
    url = f"http://127.0.0.1:{port}"
    api = Process("api", environment(settings, port=port), tmp_path / "api.log")
    started.append(api)
    await answers(url)
    headers = {"authorization": f"Bearer {owner.person.token}"}
    # A lock on the organization's row makes the request wait as long as the test wants.
    holder = await asyncpg.connect(settings.owner_database_url)
    try:
        await holder.execute("BEGIN; LOCK TABLE app.project IN ACCESS EXCLUSIVE MODE")
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            slow = asyncio.create_task(client.post(owner.url("/projects"), json={"name": "Late", "key": "LATE"}))
            await asyncio.sleep(0.5)
            api.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            with pytest.raises(httpx.TransportError):
                await httpx.AsyncClient().get(f"{url}/livez")
            await holder.execute("COMMIT")
            assert (await slow).status_code == 201
    finally:
        await holder.close()
    assert await asyncio.to_thread(api.process.wait, 15) == 0, api.log.read_text()


async def test_two_programs_do_not_share_a_port(settings: Settings, started: list[Process], tmp_path: Path) -> None:
    """The server could, and each would get half of the requests."""
    port = free_port()
    first = Process("api", environment(settings, port=port), tmp_path / "first.log")
    started.append(first)
    await answers(f"http://127.0.0.1:{port}")
    assert '"message":"api listening"' in first.log.read_text()
    second = Process("api", environment(settings, port=port), tmp_path / "second.log")
    started.append(second)
    assert await asyncio.to_thread(second.process.wait, 40) == 1
    said = second.log.read_text()
    assert f"Error: INSULA_HOST, INSULA_PORT: cannot listen on 127.0.0.1:{port}: Address already in use" in said


async def test_the_program_does_not_start_on_a_database_that_does_not_prove_isolation(
    addresses: dict[str, str], settings: Settings, started: list[Process], tmp_path: Path
) -> None:
    name = f"insula_unproven_{os.getpid()}"
    await clone(addresses["admin"], name)
    admin = await asyncpg.connect(addresses["admin"], database=name)
    await admin.execute("ALTER TABLE app.project NO FORCE ROW LEVEL SECURITY")
    await admin.close()
    urls = {
        "database_url": address(addresses["admin"], "app_rw", name),
        "identity_database_url": address(addresses["admin"], "app_identity", name),
        "platform_database_url": address(addresses["admin"], "app_platform", name),
    }
    for command in ("api", "worker"):
        process = Process(command, environment(settings, port=free_port(), **urls), tmp_path / f"{command}.log")
        started.append(process)
        assert await asyncio.to_thread(process.process.wait, 40) != 0, process.log.read_text()
        assert "project" in process.log.read_text()
        assert "FORCE" in process.log.read_text()
    doctor = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-m", "insula", "doctor"],
        env=environment(settings, **urls),
        capture_output=True,
        text=True,
    )
    assert doctor.returncode == 1
    assert "isolation" in doctor.stdout
    assert "project" in doctor.stdout
    drop = await asyncpg.connect(addresses["admin"])
    await drop.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await drop.close()


@asynccontextmanager
async def separate(addresses: dict[str, str], name: str) -> AsyncIterator[asyncpg.Connection]:
    """A database of its own, as long as it is needed."""
    await clone(addresses["admin"], name)
    admin = await asyncpg.connect(addresses["admin"], database=name)
    try:
        yield admin
    finally:
        await admin.close()
        drop = await asyncpg.connect(addresses["admin"])
        await drop.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await drop.close()


async def test_jobs_go_through_a_redis_of_their_own_and_what_the_other_forgets_loses_nothing(
    addresses: dict[str, str], settings: Settings, started: list[Process], tmp_path: Path
) -> None:
    name, postbox = f"insula_two_redis_{os.getpid()}", Postbox()
    await postbox.open()
    forgetful = {"maxmemory": "4mb", "maxmemory-policy": "allkeys-lru", "appendonly": "no"}
    with EmbeddedValkey(tmp_path / "limits", settings=forgetful) as limits, EmbeddedValkey(tmp_path / "jobs") as jobs:
        changes = {**urls_of(addresses["admin"], name), "redis_url": limits.url, "jobs_redis_url": jobs.url}
        changes |= {"smtp_port": postbox.port, "port": free_port()}
        alone = changes | {"redis_url": "redis://unused.invalid"}  # workers count nothing
        async with separate(addresses, name) as admin:
            started.append(Process("api", environment(settings, **changes), tmp_path / "api.log"))
            started.append(Process("worker", environment(settings, **alone), tmp_path / "worker.log"))
            url = f"http://127.0.0.1:{changes['port']}"
            await answers(url)
            owner = await World(None, settings, admin).owner()
            headers = {"authorization": f"Bearer {owner.person.token}"}
            async with (
                Redis.from_url(jobs.url) as queue,
                Redis.from_url(limits.url) as counters,
                httpx.AsyncClient(base_url=url, headers=headers) as client,
            ):
                invited = partial(invite, owner, postbox, client)
                await each_has_its_own(queue, counters, invited)
                await forget(counters)
                await invited("b@example.com")
                await counters.flushall()
                await counters.script_flush()
                await invited("c@example.com")
            assert {address: [*count.values()] for address, count in postbox.letters.items()} == {
                f"{letter}@example.com": [1] for letter in "abc"
            }
            async with asyncio.timeout(30):
                while await admin.fetchval("SELECT count(*) FROM app.outbox WHERE status <> 'done'"):
                    await asyncio.sleep(0.05)
            for process in started:
                process.end()
    postbox.close()


async def each_has_its_own(queue: Redis, counters: Redis, invited: Callable[[str], Awaitable[None]]) -> None:
    """A job goes through the one and is counted in the other."""
    async with queue.monitor() as commands:
        await invited("a@example.com")
        async with asyncio.timeout(30):
            while "RPUSH" not in (await commands.next_command())["command"]:
                pass
    assert [key async for key in counters.scan_iter("*") if b"saq" in key] == []
    assert [key async for key in counters.scan_iter("insula:*")]
    assert [key async for key in queue.scan_iter("insula:*")] == []


async def test_a_worker_says_whether_it_can_work(
    addresses: dict[str, str], settings: Settings, started: list[Process], tmp_path: Path
) -> None:
    name, metrics_port = f"insula_ready_worker_{os.getpid()}", free_port()
    await clone(addresses["admin"], name)
    changes = {**urls_of(addresses["admin"], name), "metrics_port": metrics_port}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{metrics_port}", timeout=10) as client:

        async def says(expected: tuple[int, str]) -> None:
            async with asyncio.timeout(30):
                while (answer := await client.get("/readyz")) and (answer.status_code, answer.text) != expected:
                    await asyncio.sleep(0.1)

        with EmbeddedValkey(tmp_path / "jobs") as jobs:
            given = environment(settings, **changes, redis_url=jobs.url)
            started.append(Process("worker", given, tmp_path / "worker.log"))
            started[0].until("worker started")
            await says((200, "ok"))
        await says((503, "Redis unreachable"))
        with EmbeddedValkey(tmp_path / "jobs", port=jobs.port):
            await says((200, "ok"))
            drop = await asyncpg.connect(addresses["admin"])
            await drop.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            await drop.close()
            await says((503, "database unreachable"))
            assert (await client.get("/livez")).status_code == 200


async def invite(owner: Member, postbox: Postbox, client: httpx.AsyncClient, email: str) -> None:
    """Ask for a letter and wait until it comes; asked once more under its key, there is no second one."""
    for _ in range(2):
        asked = {"json": {"email": email, "role": "viewer"}, "headers": {"idempotency-key": f"letter to {email}"}}
        assert (await client.post(owner.url("/invitations"), **asked)).status_code == 201
    async with asyncio.timeout(30):
        while email not in postbox.letters:
            await asyncio.sleep(0.05)


async def forget(cache: Redis) -> None:
    """Fill it with what is asked for later than all that is there, until none of that is left."""
    async with asyncio.timeout(30):
        while [key async for key in cache.scan_iter("insula:*")]:
            for number in range(100):
                await cache.mset({f"filler:{number}:{part}": "x" * 1000 for part in range(100)})


def test_wrong_settings_are_named_by_every_command_that_reads_them(tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "INSULA_PORT": "eighty"}
    given |= {"INSULA_HOME": str(tmp_path)}  # where nothing is up
    for command in ("api", "worker", "doctor"):
        refused = subprocess.run(
            [sys.executable, "-P", "-m", "insula", command], env=given, capture_output=True, text=True
        )
        said = refused.stdout + refused.stderr
        assert refused.returncode != 0, said
        assert "INSULA_PORT" in said
        assert command == "doctor" or "INSULA_SECRET_KEY is missing" in said
        assert "Traceback" not in said
