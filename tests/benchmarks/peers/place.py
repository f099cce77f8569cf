"""A server process of its own, what CPU it takes, and its end with ours."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from insula.embedded.process import LAUNCH
from tests.benchmarks.peers.line import Line

_ROOT: Final = Path(__file__).parents[3]
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 10


class Place(NamedTuple):
    """Where a server runs."""

    process: psutil.Process
    port: int


class Command(NamedTuple):
    """How a server is started, and which path answers 200 as soon as it works."""

    words: Sequence[str | Path]
    environment: Mapping[str, str]
    port: int
    ready: str


@asynccontextmanager
async def running(command: Command, log: Path) -> AsyncIterator[Place]:
    """The server until the end of the block; it ends with this process, however that ends."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
    paths = {"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}"}
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", LAUNCH, str(os.getpid()), "15", "self"),
            *command.words,
            env={**inherited, **paths, **command.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        until = time.monotonic() + _START_SECONDS
        while not await _answers(command):
            if process.returncode is not None or time.monotonic() > until:
                raise RuntimeError(f"{command.words} did not start")
            await asyncio.sleep(0.05)
        yield Place(psutil.Process(process.pid), command.port)
    except BaseException:
        print(log.read_text()[-2000:], file=sys.stderr)
        raise
    finally:
        await _end(process)


async def _answers(command: Command) -> bool:
    try:
        line = await Line.connect(command.port)
        status, _ = await line.exchange(f"GET {command.ready} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        line.close()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return status == 200


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """What it and its children have taken so far, those that have ended included."""
    spent = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            spent += sum(each.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return spent
