"""`insula rotate` replaces each key of processes at work: no request fails, and nothing that was acknowledged is lost."""

import asyncio
import itertools
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from insula.core.listing import first_id_of
from insula.settings import Settings, variables
from tests.chaos.ledger import Ledger, Report
from tests.conftest import clone, urls_of
from tests.deploy.fleet import Fleet, outside
from tests.factories import Member, World
from tests.features.test_identity import give_password
from tests.journeys.keyholders import PASSWORD, Keyholders, Letterbox, Part
from tests.kms import held, service_in

NAME = f"insula_rotated_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
NEW = b64encode(b"another secret of thirty-two bytes").decode()
LEAD = 20
"""Seconds: each process looks for new keys every ten."""
AFTERWARDS = 3.0
"""Seconds of work with the new keys."""
TENANTS = 4
ENOUGH = 1_000_000
NEEDED = {f"INSULA_{name}" for name in ("OWNER_DATABASE_URL", "SECRET_KEY", "SECRET_KEY_PREVIOUS", "KMS_COMMAND")}
UNFINISHED = "SELECT previous_ipad IS NOT NULL FROM app.door_key"
MONTH_LATER = """
WITH key AS (UPDATE app.key SET active_from = active_from - interval '31 days' WHERE active_from > '2020-01-01'),
    credential AS (UPDATE app.credential SET expires_at = now() - interval '1 minute' WHERE id < $1)
UPDATE app.tick SET at = at - interval '1 day' WHERE schedule = 'forget_keys'
"""
"""Everything of before has ended, and housekeeping comes round once more when a worker starts."""


class Scene:
    """An installation of several processes, somebody at work in it, and the command."""

    def __init__(self, settings: Settings, superuser: asyncpg.Connection, letterbox: Letterbox) -> None:
        self.settings, self.superuser, self._letterbox = settings, superuser, letterbox
        self._owner_url = str(settings.owner_database_url)
        self._stack = AsyncExitStack()

    async def open(self, folder: Path, *, apis: int, workers: int) -> None:
        """Start it, with owners who have sessions of before, a password and some projects."""
        serving = msgspec.structs.replace(self.settings, owner_database_url=None)
        self.fleet = await self._stack.enter_async_context(Fleet(serving, folder, apis=apis, workers=workers))
        await self.fleet.apis[0].restart()  # who starts together looks for new keys together
        client = await self._stack.enter_async_context(httpx.AsyncClient(timeout=30))
        world = World(None, self.settings, self.superuser)
        self.owners: list[Member] = [await world.owner() for _ in range(TENANTS)]
        self.ports = [api.port for api in self.fleet.apis]
        self.clients = Keyholders(client, self.owners, self._letterbox, self.ports)
        self.ledger = Ledger(self.clients)
        for owner in self.owners:
            await give_password(world, owner.person, PASSWORD)
            for number in range(3):
                body = {"name": f"Project {number}", "key": f"P{number}"}
                await self.clients.asked(Part("POST", owner.url("/projects"), 201, owner.person.token, body))

    async def close(self) -> None:
        await self._stack.aclose()

    async def begin(self, *arguments: str, settings: Settings | None = None) -> asyncio.subprocess.Process:
        """`insula rotate`, given what it needs and nothing else."""
        given = msgspec.structs.replace(settings or self.settings, owner_database_url=self._owner_url)
        needed = {name: value for name, value in variables(given).items() if name in NEEDED}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "insula", "rotate", *arguments),
            env=outside() | needed,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def rotated(self, *arguments: str, settings: Settings | None = None) -> str:
        """What it says when it is done."""
        process = await self.begin(*arguments, settings=settings)
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    async def begins(self) -> datetime:
        """When the newest version of a key is used."""
        return await self.superuser.fetchval("SELECT max(active_from) FROM app.key")

    async def until(self, question: str, *binds: object, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not await self.superuser.fetchval(question, *binds):
                await asyncio.sleep(0.05)

    async def roll(self, settings: Settings) -> None:
        """Restart each process with these settings; no request is sent to one that is about to end."""
        serving = msgspec.structs.replace(settings, owner_database_url=None)
        for api, worker in itertools.zip_longest(self.fleet.apis, self.fleet.workers):
            places = [place for place in (api, worker) if place]
            for place in places:
                place.configure(serving)
            async with self.clients.without(api.port):
                await asyncio.gather(*(place.restart() for place in places))

    async def shown(self, token: str, status: int) -> None:
        """A session is this much worth at every process."""
        for _ in self.clients.ports:
            await self.clients.asked(Part("GET", "/v1/me", status, token))

    async def report(self) -> Report:
        drained_after = await self.clients.settle(self.superuser)
        return self.ledger.compare(
            forgotten=0,
            happened=await self.clients.happened(self.superuser),
            dead_letters=await self.superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status = 'dead'"),
            repeated_calls=0,
            killed={},
            drained_after=round(drained_after, 1),
        )


@pytest.fixture
async def scene(addresses: dict[str, str], settings: Settings) -> AsyncIterator[Scene]:
    await clone(addresses["admin"], NAME)
    letterbox = Letterbox()
    await letterbox.open()
    changed = msgspec.structs.replace(
        settings,
        **urls_of(addresses["admin"], NAME),
        smtp_port=letterbox.port,
        metrics_port=0,
        limit_invitations_per_day=ENOUGH,
        limit_projects=ENOUGH,
    )
    superuser = await asyncpg.connect(addresses["admin"], database=NAME)
    scene = Scene(changed, superuser, letterbox)
    try:
        yield scene
    finally:
        await scene.close()
        letterbox.close()
        await superuser.close()


async def killed_over_the_door_key(scene: Scene) -> None:
    """The command is killed while it waits for a transaction of before, and run again."""
    async with scene.superuser.transaction():
        await scene.superuser.fetchval("SELECT 1")
        killed = await scene.begin("door-key")
        await scene.until(UNFINISHED)
        killed.kill()
        await killed.wait()
    assert await scene.superuser.fetchval(UNFINISHED), "it ended before it was killed"
    await scene.rotated("door-key")
    assert not await scene.superuser.fetchval(UNFINISHED)


async def test_no_request_fails_while_door_key_pepper_and_data_keys_are_replaced(scene: Scene, tmp_path: Path) -> None:
    await scene.open(tmp_path, apis=2, workers=1)
    before = [await scene.clients.signed_in(owner) for owner in scene.owners]
    old = await scene.superuser.fetch("SELECT wrapped FROM app.key")
    door_key = await scene.superuser.fetchval("SELECT ipad FROM app.door_key")
    async with scene.clients.at_work(scene.ledger):
        for keys, said in (("pepper", "A new pepper is used from"), ("data-keys", "New data keys are used from")):
            assert said in await scene.rotated(keys, "--lead", str(LEAD))
        begins = await scene.begins()
        assert "was forgotten after" in await scene.rotated("door-key")
        await killed_over_the_door_key(scene)
        await scene.until("SELECT now() > $1", begins + timedelta(seconds=AFTERWARDS))
    report = await scene.report()
    print(msgspec.structs.replace(report, refused=report.refused[:3]))
    assert report.broken() == []
    assert report.acknowledged > 50, "too little was asked for to prove anything"
    made = "SELECT count(*) FROM app.credential WHERE id >= $1"
    assert await scene.superuser.fetchval(made, first_id_of(begins)) > 10, "nothing was made with the new keys"
    for token in before:
        await scene.shown(token, 200)
    assert await scene.superuser.fetchval("SELECT ipad FROM app.door_key") != door_key
    await nothing_is_left_of(scene, [row["wrapped"] for row in old], begins)
    for token in before:
        await scene.shown(token, 401)
    for owner in scene.owners:
        await scene.shown(await scene.clients.signed_in(owner), 200)


async def nothing_is_left_of(scene: Scene, old: list[bytes], begins: datetime) -> None:
    """When nothing of before is alive, a worker forgets the keys of before."""
    worker, *_ = scene.fleet.workers
    await worker.stop()
    await scene.superuser.execute(MONTH_LATER, first_id_of(begins))
    worker.start()
    await scene.until("SELECT NOT EXISTS (SELECT FROM app.key WHERE wrapped = any($1))", old)
    left = await scene.superuser.fetch("SELECT purpose FROM app.key")
    assert len(left) == len({row["purpose"] for row in left}) == len(old)


async def killed_over(scene: Scene, keys: str, purpose: str, settings: Settings) -> None:
    """The command is killed between two of the keys that it replaces, and has changed none of them."""
    before = await scene.superuser.fetch("SELECT * FROM app.key ORDER BY purpose, active_from")
    async with held(str(settings.kms_command), "wrap", purpose) as asked:
        killed = await scene.begin(keys, settings=settings)
        async with asyncio.timeout(30):
            await asked.wait()
        killed.kill()
        await killed.wait()
    assert await scene.superuser.fetch("SELECT * FROM app.key ORDER BY purpose, active_from") == before


async def test_no_request_fails_while_a_new_master_key_and_then_a_service_take_over(
    scene: Scene, tmp_path: Path
) -> None:
    first = scene.settings
    both = msgspec.structs.replace(first, secret_key=NEW, secret_key_previous=first.secret_key)
    service = msgspec.structs.replace(first, secret_key=NEW, kms_command=service_in(tmp_path))
    await scene.open(tmp_path, apis=2, workers=1)
    async with scene.clients.at_work(scene.ledger):
        await scene.roll(both)
        assert (await scene.rotated("master-key", settings=both)).startswith("4 keys were wrapped anew")
        await scene.roll(service)
        await killed_over(scene, "master-key", "pseudonym", service)
        assert (await scene.rotated("master-key", settings=service)).startswith("4 keys were wrapped anew, by kms")
        await killed_over(scene, "data-keys", "pseudonym", service)
        await scene.rotated("data-keys", "--lead", str(LEAD), settings=service)
    report = await scene.report()
    print(msgspec.structs.replace(report, refused=report.refused[:3]))
    assert report.broken() == []
    assert report.acknowledged > 50, "too little was asked for to prove anything"
    for owner in scene.owners:
        await scene.shown(owner.person.token, 200)
    opens, does_not_open, *_ = scene.fleet.apis
    opens.configure(msgspec.structs.replace(service, secret_key=None))
    does_not_open.configure(first)
    await asyncio.gather(opens.stop(), does_not_open.stop())
    opens.start()
    does_not_open.start()
    await opens.ready()
    with pytest.raises(AssertionError, match="INSULA_SECRET_KEY_PREVIOUS"):
        await does_not_open.ready()


async def test_the_same_count_finds_keys_that_are_used_or_forgotten_before_their_time(
    scene: Scene, tmp_path: Path
) -> None:
    await scene.open(tmp_path, apis=2, workers=1)
    failed = scene.clients.failed
    async with scene.clients.at_work(scene.ledger), asyncio.timeout(3 * LEAD):
        await scene.rotated("data-keys", "--lead", "0")
        while not failed[400]:  # cursors and links that other processes know nothing of
            await asyncio.sleep(0.05)
        await scene.rotated("pepper", "--lead", "0")
        while not failed[401]:  # sessions
            await asyncio.sleep(0.05)
        while not failed[500]:  # contexts of transactions under way
            await scene.superuser.execute("SELECT app.rotate_door_key()")
            await scene.superuser.execute("SELECT app.forget_previous_door_key()")
    broken = (await scene.report()).broken()
    for status in (400, 401, 500):
        assert [line for line in broken if line.startswith("refused") and f": {status} " in line], broken
