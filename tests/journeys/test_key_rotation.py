"""Every key is replaced while two processes serve, and no request fails over it."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from insula.app import create_litestar
from insula.core import vault
from insula.core.http.access_log import AccessLog
from insula.rotation import DATA_KEYS, PEPPER, rewrap, rotate_keys
from insula.settings import Settings
from tests.conftest import address, clone, running
from tests.factories import Member, World
from tests.invitations import fresh_address

NEW = b64encode(b"another secret of thirty-two bytes").decode()


@pytest.fixture
async def apart(addresses: dict[str, str], settings: Settings) -> Settings:
    """The same program on a database of its own."""
    name = f"insula_rotation_{settings.database_url.rpartition('_')[2]}"
    await clone(addresses["admin"], name)
    logins = {
        "database_url": "app_rw",
        "identity_database_url": "app_identity",
        "platform_database_url": "app_platform",
        "owner_database_url": "app_migrator",
    }
    urls = {field: address(addresses["admin"], login, name) for field, login in logins.items()}
    return msgspec.structs.replace(settings, **urls)


@asynccontextmanager
async def processes(*installations: Settings) -> AsyncIterator[list[Litestar]]:
    """One for each of the settings."""
    async with AsyncExitStack() as stack:
        apps = []
        for settings in installations:
            app = create_litestar(settings)
            await stack.enter_async_context(running(app))
            apps.append(app)
        yield apps


class Crowd:
    """People at work on both processes: old sessions and new ones, old cursors and new ones, invitations."""

    def __init__(self, apps: list[Litestar], settings: Settings, superuser: asyncpg.Connection) -> None:
        self._worlds = [World(AccessLog(app), settings, superuser) for app in apps]
        for world, app in zip(self._worlds, apps, strict=True):
            world.keyring = app.state.keyring  # each mints with what its process knows
        self._registrar = asyncio.Lock()
        self.statuses: list[int] = []
        self._cursors: list[str] = []

    async def gather(self) -> None:
        self._owner = await self._worlds[0].owner()
        for number in range(3):
            body = {"name": f"Project {number}", "key": f"P{number}"}
            assert (await self._owner.client.post(self._owner.url("/projects"), json=body)).status_code == 201

    async def answered(self, more: int) -> None:
        """Wait for so many answers."""
        until = len(self.statuses) + more
        async with asyncio.timeout(60):
            while len(self.statuses) < until:
                await asyncio.sleep(0.01)

    async def work(self, during: Callable[["Crowd"], Awaitable[Any]]) -> None:
        """All of it at once, while something is done."""
        stop = asyncio.Event()
        working = [asyncio.create_task(self._come_and_go(number, stop)) for number in range(4)]
        try:
            await self.answered(20)
            await during(self)
            await self.answered(20)
        finally:
            stop.set()
            await asyncio.gather(*working)
        assert set(self.statuses) <= {200, 201, 204}, self.statuses

    async def _come_and_go(self, number: int, stop: asyncio.Event) -> None:
        turn = number
        while not stop.is_set():
            here, there = self._worlds[turn % 2], self._worlds[(turn + 1) % 2]
            turn += 1
            async with self._registrar:
                member = await here.member(self._owner.organization_id, "admin")
            await self._look(member, there)
            await self._look(self._owner, there)
            invited = await member.client.post(
                member.url("/invitations"), json={"email": fresh_address(), "role": "viewer"}
            )
            self.statuses.append(invited.status_code)
            gone = await there.client(member.person.token).post("/v1/auth/sign-out")
            self.statuses.append(gone.status_code)
            await asyncio.sleep(0.01)

    async def _look(self, member: Member, world: World) -> None:
        client = world.client(member.person.token)
        page = await client.get(member.url("/projects"), params={"limit": "1"})
        self.statuses.append(page.status_code)
        if member is self._owner and page.status_code == 200:
            self._cursors.append(page.json()["next_cursor"])
            for cursor in {self._cursors[0], self._cursors[-1]}:
                after = await client.get(member.url("/projects"), params={"limit": "1", "cursor": cursor})
                self.statuses.append(after.status_code)


async def test_no_request_fails_while_pepper_data_keys_and_master_key_are_replaced(
    addresses: dict[str, str], apart: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "LOOK_SECONDS", 0.1)
    owner_url = str(apart.owner_database_url)
    superuser = await asyncpg.connect(addresses["admin"], database=owner_url.rpartition("/")[2])
    both = msgspec.structs.replace(apart, secret_key=NEW, secret_key_previous=apart.secret_key)
    alone = msgspec.structs.replace(apart, secret_key=NEW)

    async def rotate(_: Crowd) -> None:
        lead = timedelta(seconds=3)
        begins = [await rotate_keys(owner_url, apart.masters, purposes, lead) for purposes in (PEPPER, DATA_KEYS)]
        while datetime.now(UTC) < max(begins):
            await asyncio.sleep(0.1)

    async def change_master(_: Crowd) -> None:
        assert await rewrap(owner_url, both.masters) == 8

    async def go_on(crowd: Crowd) -> None:
        await crowd.answered(20)

    try:
        async with processes(apart, apart) as apps:
            crowd = Crowd(apps, apart, superuser)
            await crowd.gather()
            token = crowd._owner.person.token
            await crowd.work(rotate)
        for installations, during in (
            ((apart, both), go_on),
            ((both, both), change_master),
            ((both, alone), go_on),
        ):
            async with processes(*installations) as apps:
                later = Crowd(apps, apart, superuser)
                later._owner = crowd._owner
                await later.work(during)
        async with processes(alone) as (app,):
            assert await signed_in(app, token), "a session of before everything"
    finally:
        await superuser.close()


async def signed_in(app: Litestar, token: str) -> bool:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=AccessLog(app)), base_url="http://insula.test")
    me = await client.get("/v1/me", headers={"authorization": f"Bearer {token}"})
    return me.status_code == 200
