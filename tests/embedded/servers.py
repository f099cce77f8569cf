"""What the tests of the embedded servers ask and do from outside."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from insula.embedded import EmbeddedPostgres
from insula.embedded.lock import FolderLock

Server = Callable[..., EmbeddedPostgres]

STARTER = """
import sys, time
from pathlib import Path
from insula.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
print(server.dsn(), flush=True)
time.sleep(60)
"""
BUSY = """
import asyncio, asyncpg, sys
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    print("busy", flush=True)
    await connection.execute("DO $$ BEGIN LOOP END LOOP; END $$")
asyncio.run(main())
"""


def ask(dsn: str, sql: str) -> Any:
    """The one value that ``sql`` gives."""

    async def go() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(go())


def run(code: str, argument: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, argument], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def postmaster(postgres: EmbeddedPostgres) -> int:
    return int((postgres.data / "postmaster.pid").read_text().splitlines()[0])


def nothing_runs_in(folder: Path) -> bool:
    """Whether within a moment every process of the folder's server is gone."""
    lock = FolderLock(folder / "server.lock")
    wait_until(lock.acquire)
    lock.release()
    return True


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
