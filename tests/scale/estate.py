"""Everything that a large installation runs, on one machine, each part of it a process that can be killed."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, Self

import asyncpg
import httpx
import msgspec

from insula.embedded import EmbeddedPostgres
from insula.provision import LOGINS, migrate, provision
from insula.settings import Settings
from tests.chaos.postbox import Postbox
from tests.conftest import address
from tests.deploy.fleet import Fleet
from tests.deploy.proxies import HAProxy
from tests.factories import settings_for
from tests.isolation.pgbouncer import PgBouncer
from tests.scale.redis_nodes import RedisNodes

DATABASE: Final = "estate"
_POSTGRES: Final = {"max_connections": "120", "fsync": "off"}
"""A killed process loses nothing that it gave to the kernel: fsync would only slow this down."""
_WHOLE_SECONDS: Final = 60
_ENOUGH: Final = 10_000_000


class Mortal(Protocol):
    """What can be killed and starts again."""

    def end(self) -> None: ...

    def start(self) -> None: ...


class Estate:
    """PostgreSQL behind PgBouncer, Redis behind its proxy, API processes behind HAProxy, workers, and a mail server."""

    settings: Settings

    def __init__(self, *, apis: int, workers: int, change: Callable[[str], str] = str, **settings: Any) -> None:
        """``change`` is made to HAProxy's file, ``settings`` to the program's."""
        self._apis, self._workers, self._change, self._changes = apis, workers, change, settings
        self._folder = Path(tempfile.mkdtemp(prefix="insula-estate-"))
        self._folder.chmod(0o711)  # PgBouncer does not run as root
        self.postgres = EmbeddedPostgres(self._folder / "postgres", settings=_POSTGRES)
        self.redis = RedisNodes(self._folder)
        self.postbox = Postbox()

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _build(self) -> None:
        await self.postbox.open()
        self.postgres.start()
        self.redis.start()
        admin = self.postgres.dsn()
        await provision(admin, DATABASE, {login: login for login in LOGINS})
        await migrate(address(admin, "app_migrator", DATABASE))
        folder = self._folder / "pgbouncer"
        folder.mkdir()
        self.pgbouncer = PgBouncer(folder, admin, pool=20).__enter__()
        self.settings = settings_for(**self._settings() | self._changes)
        self.fleet = await Fleet(self.settings, self._folder, apis=self._apis, workers=self._workers).__aenter__()
        self.haproxy = HAProxy(self._folder, [api.port for api in self.fleet.apis], self._change).__enter__()
        await self.whole()

    def _settings(self) -> dict[str, Any]:
        logins = {"": "app_rw", "identity_": "app_identity", "platform_": "app_platform"}
        urls = {
            f"{purpose}database_url": address(self.pgbouncer.address, login, DATABASE)
            for purpose, login in logins.items()
        }
        return urls | {
            "pgbouncer": self.pgbouncer.old,
            "redis_url": self.redis.url,
            "smtp_port": self.postbox.port,
            "metrics_port": 0,
            "trusted_proxies": 1,
            "pool_size": 8,
            "job_lease_seconds": 5,
            "limit_invitations_per_day": _ENOUGH,
            "limit_projects": _ENOUGH,
        }

    async def __aexit__(self, *_: object) -> None:
        for part in ("haproxy", "fleet", "pgbouncer"):
            if (built := getattr(self, part, None)) is not None:
                left = built.__aexit__() if part == "fleet" else built.__exit__(None, None, None)
                if left is not None:
                    await left
        self.redis.stop()
        self.postgres.stop()
        self.postbox.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def superuser(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.postgres.dsn(DATABASE))

    def client(self) -> httpx.AsyncClient:
        """Of the one address."""
        limits = httpx.Limits(max_connections=200)
        return httpx.AsyncClient(base_url=self.haproxy.url, verify=self.haproxy.trust, timeout=20, limits=limits)

    def mortals(self) -> dict[str, Mortal]:
        """Of each kind the one that is killed next."""
        first = self.fleet.apis.pop(0)
        self.fleet.apis.append(first)
        worker = self.fleet.workers.pop(0)
        self.fleet.workers.append(worker)
        return {
            "api": first,
            "worker": worker,
            "haproxy": _Restarted(self.haproxy.kill, self.haproxy.__enter__),
            "pgbouncer": _Restarted(self.pgbouncer.kill, self.pgbouncer.__enter__),
            "redis master": self.redis.master,
            "sentinel": self.redis.sentinels[0],
            "redis proxy": self.redis.proxy,
            "postgres": _Restarted(self._kill_postgres, self.postgres.start),
        }

    def pids(self) -> dict[str, list[int]]:
        """The processes of each kind; children count with their parents."""
        return {
            "api": [place.pid for place in self.fleet.apis],
            "worker": [place.pid for place in self.fleet.workers],
            "haproxy": [self.haproxy.pid],
            "pgbouncer": [self.pgbouncer.pid],
            "postgres": [self._postgres_pid],
            "redis": [program.pid for program in (*self.redis.nodes, *self.redis.sentinels, self.redis.proxy)],
        }

    @property
    def _postgres_pid(self) -> int:
        process = self.postgres._process  # who kills it has to know
        assert process is not None
        return process.pid

    def _kill_postgres(self) -> None:
        os.kill(self._postgres_pid, signal.SIGKILL)

    async def whole(self) -> float:
        """Wait until every part works again; returns how long that took, in seconds."""
        began = time.monotonic()
        async with asyncio.timeout(_WHOLE_SECONDS):
            for place in (*self.fleet.apis, *self.fleet.workers):
                await place.ready()
            while not await asyncio.to_thread(self.redis.whole):
                await asyncio.sleep(0.2)
        return time.monotonic() - began


class _Restarted(msgspec.Struct, frozen=True):
    """Somebody else's way to die and to begin again."""

    kill: Callable[[], Any]
    begin: Callable[[], Any]

    def end(self) -> None:
        self.kill()

    def start(self) -> None:
        self.begin()
