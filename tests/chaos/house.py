"""The house that chaos comes to: servers and workers of its own, each of which can be killed and comes back."""

import asyncio
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final, Self

import asyncpg

from insula.embedded import EmbeddedPostgres, EmbeddedValkey
from insula.provision import LOGINS, migrate, provision
from insula.settings import Settings
from tests.chaos.tasks import TABLES
from tests.factories import settings_for
from tests.tenant_tables import create_table

DATABASE: Final = "chaos"
# A killed process loses nothing that it gave to the kernel: fsync would only slow this down.
POSTGRES: Final = {"fsync": "off", "max_connections": "120"}
# A Redis that forgets everything whenever it dies.
VALKEY: Final = {"appendonly": "no", "save": ""}

_FORK: Final = multiprocessing.get_context("forkserver")


class House:
    """One Postgres, one Valkey, several worker processes."""

    def __init__(self, work: Callable[[Settings], None], workers: int) -> None:
        self._work = work
        self._folder = Path(tempfile.mkdtemp(prefix="insula-chaos-"))
        self.postgres = EmbeddedPostgres(self._folder / "postgres", settings=POSTGRES)
        self.valkey = EmbeddedValkey(self._folder / "valkey", settings=VALKEY)
        self._workers: list[ForkServerProcess | None] = [None] * workers
        self.killed: Counter[str] = Counter()
        self.settings: Settings

    async def __aenter__(self) -> Self:
        try:
            await self._furnish()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _furnish(self) -> None:
        self.postgres.start()
        self.valkey.start()
        await provision(self.postgres.dsn(), DATABASE, {login: login for login in LOGINS})
        await migrate(self._dsn("app_migrator"))
        for table, columns in TABLES.items():
            await create_table(self._dsn("app_migrator"), table, *columns)
        self.settings = settings_for(
            database_url=self._dsn("app_rw"),
            identity_database_url=self._dsn("app_identity"),
            platform_database_url=self._dsn("app_platform"),
            owner_database_url=self.postgres.dsn(DATABASE),
            redis_url=self.valkey.url,
            metrics_port=0,
            job_lease_seconds=2,
            drain_seconds=2,
        )
        _FORK.set_forkserver_preload(["tests.chaos.contenders"])
        self.keep_running()

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.kill()
                worker.join()
        self.valkey.stop()
        self.postgres.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _dsn(self, login: str) -> str:
        return f"postgresql://{login}:{login}@127.0.0.1:{self.postgres.port}/{DATABASE}"

    async def superuser(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.postgres.dsn(DATABASE))

    def keep_running(self) -> None:
        """Start every worker that is not alive, as an orchestrator would."""
        for place, worker in enumerate(self._workers):
            if worker is None or not worker.is_alive():
                fresh = _FORK.Process(target=self._work, args=(self.settings,), daemon=True)
                fresh.start()
                self._workers[place] = fresh

    async def kill_something(self, victims: tuple[str, ...]) -> None:
        """SIGKILL to one of ``victims``, and bring it back a moment later."""
        victim = random.choice(victims)
        self.killed[victim] += 1
        if victim == "worker":
            worker = random.choice(self._workers)
            assert worker is not None
            worker.kill()
            return
        server = self.postgres if victim == "postgres" else self.valkey
        os.kill(_pid(server), signal.SIGKILL)
        await asyncio.sleep(random.uniform(0, 0.5))
        server.start()

    async def terminate_workers(self) -> list[float]:
        """SIGTERM to every worker; returns how long each took to end, in seconds."""
        began, took = time.monotonic(), []
        for worker in self._workers:
            assert worker is not None
            worker.terminate()
        for worker in self._workers:
            assert worker is not None
            await asyncio.to_thread(worker.join)
            took.append(time.monotonic() - began)
        return took


def _pid(server: EmbeddedPostgres | EmbeddedValkey) -> int:
    process = server._process  # who kills it has to know
    assert process is not None
    return process.pid
