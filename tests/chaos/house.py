"""The house that chaos comes to: servers and processes of its own, each of which can be killed and comes back."""

import asyncio
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final, Self, TypeAlias

import asyncpg
import msgspec

from insula.embedded import EmbeddedPostgres, EmbeddedValkey
from insula.embedded.process import free_port
from insula.provision import LOGINS, migrate, provision
from insula.settings import Settings
from tests.chaos.postbox import Postbox
from tests.chaos.tasks import TABLES
from tests.factories import settings_for
from tests.tenant_tables import create_table

Crew: TypeAlias = Sequence[tuple[str, Callable[[Settings], None]]]
"""What runs in a house: of each process its kind, ``api`` or ``worker``, and its whole life."""

DATABASE: Final = "chaos"
# A killed process loses nothing that it gave to the kernel: fsync would only slow this down.
POSTGRES: Final = {"fsync": "off", "max_connections": "120"}
# A Redis that forgets everything whenever it dies.
VALKEY: Final = {"appendonly": "no", "save": ""}
_ENOUGH: Final = 1_000_000

_FORK: Final = multiprocessing.get_context("forkserver")


class House:
    """One Postgres, one Valkey, several API and worker processes, and a mail server that nothing happens to."""

    def __init__(self, crew: Crew, *, patience_seconds: int = 2) -> None:
        """``patience_seconds`` is how long a job may take, and what is under way after SIGTERM."""
        self._patience_seconds = patience_seconds
        self._folder = Path(tempfile.mkdtemp(prefix="insula-chaos-"))
        self.postgres = EmbeddedPostgres(self._folder / "postgres", settings=POSTGRES)
        self.valkey = EmbeddedValkey(self._folder / "valkey", settings=VALKEY)
        self.postbox = Postbox()
        self._processes = [_Process(kind, life) for kind, life in crew]
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
        await self.postbox.open()
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
            smtp_port=self.postbox.port,
            metrics_port=0,
            job_lease_seconds=self._patience_seconds,
            drain_seconds=self._patience_seconds,
            limit_invitations_per_day=_ENOUGH,
            limit_projects=_ENOUGH,
        )
        _FORK.set_forkserver_preload(["tests.chaos.program"])
        self.keep_running()

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        self.postbox.close()
        self.valkey.stop()
        self.postgres.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _dsn(self, login: str) -> str:
        return f"postgresql://{login}:{login}@127.0.0.1:{self.postgres.port}/{DATABASE}"

    async def superuser(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.postgres.dsn(DATABASE))

    @property
    def addresses(self) -> list[str]:
        """Where the API was started last, of each of its processes."""
        return [f"http://127.0.0.1:{process.port}" for process in self._processes if process.kind == "api"]

    def keep_running(self) -> None:
        """Start every process that is not alive, as an orchestrator would."""
        for process in self._processes:
            process.keep_running(self.settings)

    async def kill(self, victim: str) -> None:
        """SIGKILL to one ``api`` or ``worker``, or to ``redis`` or ``postgres``, which come back a moment later."""
        self.killed[victim] += 1
        if victim not in {"redis", "postgres"}:
            random.choice([process for process in self._processes if process.kind == victim]).kill()
            return
        server = self.postgres if victim == "postgres" else self.valkey
        os.kill(_pid(server), signal.SIGKILL)
        await asyncio.sleep(random.uniform(0, 0.5))
        server.start()

    async def terminate(self, kind: str) -> list[float]:
        """SIGTERM to every process of this kind; returns how long each took to end, in seconds."""
        ending = [process for process in self._processes if process.kind == kind]
        began, took = time.monotonic(), []
        for process in ending:
            process.terminate()
        for process in ending:
            await asyncio.to_thread(process.join)
            took.append(time.monotonic() - began)
        return took


class _Process:
    """A place in the house that one process after the other fills."""

    def __init__(self, kind: str, life: Callable[[Settings], None]) -> None:
        self.kind, self._life = kind, life
        self.port = 0
        self._process: ForkServerProcess | None = None

    def keep_running(self, settings: Settings) -> None:
        if self._process is None or not self._process.is_alive():
            # A new port for each: somebody's connection may have taken the one that became free.
            self.port = free_port()
            settings = msgspec.structs.replace(settings, port=self.port)
            fresh = _FORK.Process(target=self._life, args=(settings,), daemon=True)
            fresh.start()
            self._process = fresh

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def terminate(self) -> None:
        assert self._process is not None
        self._process.terminate()

    def join(self) -> None:
        assert self._process is not None
        self._process.join()


def _pid(server: EmbeddedPostgres | EmbeddedValkey) -> int:
    process = server._process  # who kills it has to know
    assert process is not None
    return process.pid
