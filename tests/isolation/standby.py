"""Two servers, the second following the first by streaming replication."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from insula.embedded.postgres import EmbeddedPostgres
from insula.provision import migrate, provision
from tests.conftest import PASSWORDS, QUICK, address

DATABASE = "insula"


class Pair:
    """A primary and its standby."""

    def __init__(self, folder: Path, binaries: Path | None = None) -> None:
        for name in ("primary", "standby"):
            (folder / name).mkdir()
        self.primary = EmbeddedPostgres(
            folder / "primary", binaries=binaries, settings={**QUICK, "wal_keep_size": "256MB"}
        )
        self._folder, self._binaries = folder, binaries

    def url(self, login: str, *, standby: bool = False) -> str:
        return address((self.standby if standby else self.primary).dsn(), login, DATABASE)

    async def start(self) -> None:
        self.primary.start()
        await provision(self.primary.dsn(), DATABASE, PASSWORDS)
        await migrate(self.url("app_migrator"))
        await self._back_up()
        follow = {"hot_standby": "on", "primary_conninfo": self.primary.dsn(), "wal_retrieve_retry_interval": "100ms"}
        self.standby = EmbeddedPostgres(self._folder / "standby", binaries=self._binaries, settings={**QUICK, **follow})
        self.standby.start()

    async def _back_up(self) -> None:
        """As pg_basebackup does, with what every installation has."""
        source, target = self.primary.data, self._folder / "standby" / self.primary.data.name
        connection = await asyncpg.connect(self.primary.dsn())
        try:
            await connection.execute("SELECT pg_backup_start('standby', fast => true)")
            leave = shutil.ignore_patterns("postmaster.*", "pg_replslot")
            await asyncio.to_thread(shutil.copytree, source, target, ignore=leave)
            label = await connection.fetchval("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)")
        finally:
            await connection.close()
        (target / "backup_label").write_text(label)
        (target / "pg_replslot").mkdir()
        (target / "standby.signal").touch()
        shutil.copy(self.primary.folder / "password", self._folder / "standby" / "password")
        subprocess.run(["chmod", "-R", "go-rwx", str(target)], check=True)

    def stop(self) -> None:
        self.standby.stop()
        self.primary.stop()

    async def on_standby(self, sql: str) -> Any:
        """The one value of a question, as the superuser."""
        connection = await asyncpg.connect(self.standby.dsn(DATABASE))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    async def caught_up(self) -> None:
        """Wait until the standby has all that the primary has."""
        connection = await asyncpg.connect(self.primary.dsn())
        try:
            position = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        finally:
            await connection.close()
        async with asyncio.timeout(30):
            while not await self.on_standby(f"SELECT pg_last_wal_replay_lsn() >= '{position}'"):
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """The standby replays nothing meanwhile."""
        await self.on_standby("SELECT pg_wal_replay_pause()")
        async with asyncio.timeout(10):
            while await self.on_standby("SELECT pg_get_wal_replay_pause_state()") != "paused":
                await asyncio.sleep(0.02)
        try:
            yield
        finally:
            await self.on_standby("SELECT pg_wal_replay_resume()")
