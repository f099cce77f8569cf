"""Redis full, and Redis gone: who may come in stays the same, limits hold, and no job is lost or done twice."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from aiosmtpd.controller import Controller
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from insula.embedded import EmbeddedValkey
from insula.settings import Settings
from tests.conftest import address, clone
from tests.factories import Member, World
from tests.features.signing_in import PASSWORD, give_password
from tests.journeys.test_processes import Process, answers, environment, free_port

SIGN_INS = 20
INVITED = 5


class Letters:
    """A mail server that counts the letters to each address."""

    def __init__(self) -> None:
        self.to: Counter[str] = Counter()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.to.update(envelope.rcpt_tos)
        return "250 OK"

    async def arrive(self, addresses: list[str]) -> None:
        async with asyncio.timeout(30):
            while not all(self.to[to] for to in addresses):
                await asyncio.sleep(0.05)


class House(msgspec.Struct, frozen=True):
    """API and worker as processes, with a Valkey, a database and a mail server of their own."""

    url: str
    world: World
    valkey: EmbeddedValkey
    letters: Letters

    def client(self, visitor: str, token: str = "") -> httpx.AsyncClient:
        headers = {"x-forwarded-for": visitor} | ({"authorization": f"Bearer {token}"} if token else {})
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)


@pytest.fixture
async def house(settings: Settings, addresses: dict[str, str], tmp_path: Path) -> AsyncIterator[House]:
    name, letters = f"insula_outage_{os.getpid()}", Letters()
    await clone(addresses["admin"], name)
    async with AsyncExitStack() as stack:
        valkey = stack.enter_context(EmbeddedValkey(tmp_path / "valkey", settings={"appendonly": "no"}))
        mail = Controller(letters, hostname="127.0.0.1", port=free_port())
        mail.start()
        stack.callback(mail.stop)
        superuser = await asyncpg.connect(addresses["admin"], database=name)
        stack.push_async_callback(superuser.close)
        logins = (("", "app_rw"), ("identity_", "app_identity"), ("platform_", "app_platform"))
        urls = {f"{use}database_url": address(addresses["admin"], login, name) for use, login in logins}
        more = {"smtp_port": mail.port, "trusted_proxies": 1, "rate_sign_in_per_minute": SIGN_INS}
        variables = environment(settings, port=free_port(), redis_url=valkey.url, **urls, **more)
        for command in ("api", "worker"):
            stack.callback(Process(command, variables, tmp_path / f"{command}.log").end)
        url = f"http://127.0.0.1:{variables['INSULA_PORT']}"
        await answers(url)
        yield House(url, World(None, settings, superuser), valkey, letters)


@asynccontextmanager
async def full(valkey: EmbeddedValkey) -> AsyncIterator[None]:
    """No byte more goes in."""
    async with Redis.from_url(valkey.url) as redis:
        await redis.config_set("maxmemory", (await redis.info("memory"))["used_memory"] + 1_000_000)
        for size in (100_000, 1000, 1):
            with pytest.raises(OutOfMemoryError):
                for number in range(100_000):
                    await redis.set(f"filler:{size}:{number}", b"x" * size)
        # What connections come to need is given back now and then, and would be room again.
        await redis.config_set("maxmemory", 1)
        yield
        await redis.config_set("maxmemory", 0)


@asynccontextmanager
async def gone(valkey: EmbeddedValkey) -> AsyncIterator[None]:
    """Killed, and back with nothing of what it knew."""
    assert valkey._process is not None
    os.kill(valkey._process.pid, signal.SIGKILL)
    yield
    valkey.start()


@pytest.mark.attack(132)
async def test_a_redis_that_is_full_or_gone_loses_no_job_and_lets_nobody_in(house: House) -> None:
    owner, neighbour = await house.world.owner(), await house.world.owner()
    await give_password(house.world, owner.person)
    await house.letters.arrive(await invited(house, owner, "before"))
    for outage in (full, gone):
        visitor = "198.51.100.1" if outage is full else "198.51.100.2"
        async with outage(house.valkey):
            waiting = await invited(house, owner, outage.__name__)
            await only_those_who_may_come_in(house, owner, neighbour, visitor)
            await guessing_is_limited(house, visitor)
            await asyncio.sleep(1)
            assert not any(house.letters.to[to] for to in waiting)
        await house.letters.arrive(waiting)
    await asyncio.sleep(1)
    assert set(house.letters.to.values()) == {1}
    assert len(house.letters.to) == 3 * INVITED
    open_jobs = "SELECT count(*) FROM app.outbox WHERE status <> 'done'"
    assert await house.world.superuser.fetchval(open_jobs) == 0


async def invited(house: House, owner: Member, word: str) -> list[str]:
    """Ask for a few letters; their addresses."""
    addresses = [f"{word}{number}@example.com" for number in range(INVITED)]
    async with house.client("198.51.100.3", owner.person.token) as client:
        for email in addresses:
            made = await client.post(owner.url("/invitations"), json={"email": email, "role": "member"})
            assert made.status_code == 201, made.text
    return addresses


async def only_those_who_may_come_in(house: House, owner: Member, neighbour: Member, visitor: str) -> None:
    async with house.client(visitor) as stranger:
        assert (await stranger.get("/v1/me")).status_code == 401
        assert (await attempt(stranger, owner.person.email, "not the password at all")).status_code == 401
        signed_in = await attempt(stranger, owner.person.email, PASSWORD)
        assert signed_in.status_code == 200, signed_in.text
    async with house.client(visitor, signed_in.json()["token"]) as client:
        assert (await client.get(owner.url("/projects"))).status_code == 200
        assert (await client.get(neighbour.url("/projects"))).status_code == 404
        assert (await client.post("/v1/auth/sign-out")).status_code == 204
        assert (await client.get(owner.url("/projects"))).status_code == 401


async def guessing_is_limited(house: House, visitor: str) -> None:
    async with house.client(visitor) as stranger:
        guesses = [
            (await attempt(stranger, f"victim{number}@example.com", PASSWORD)).status_code for number in range(SIGN_INS)
        ]
    assert set(guesses) == {401, 429}
    assert guesses.count(401) <= SIGN_INS // 4


async def attempt(client: httpx.AsyncClient, email: str, password: str) -> httpx.Response:
    return await client.post("/v1/auth/sign-in", json={"email": email, "password": password})
