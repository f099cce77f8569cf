"""API and worker processes as an operator runs them, and restarts of them one after the other."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import httpx

from insula.embedded.process import is_free
from insula.settings import Settings, variables

_ROOT: Final = Path(__file__).parents[2]
_START_SECONDS: Final = 60
_FIRST: Final = {"worker": ("nice", "-n", "10")}
"""As its unit for systemd says."""
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS: Final = itertools.count(20_000 + 500 * _WORKER)
"""Below those that a kernel gives away, and each xdist worker's own: whose process is being replaced finds its port again."""


def outside() -> dict[str, str]:
    """The variables of a process of the program that is told nothing yet."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
    return inherited | {"PYTHONPATH": str(_ROOT / "src")}


def _kept_port() -> int:
    return next(port for port in _PORTS if is_free(port))


class Place:
    """Where one process after the other runs: always the same command, with the same settings, on the same port."""

    def __init__(self, command: str, settings: Settings, log: Path, **changes: object) -> None:
        self.command, self.log, self.port = command, log, _kept_port()
        self.configure(settings, **changes)
        self.log.touch()

    def configure(self, settings: Settings, **changes: object) -> None:
        """What runs here is started like this from the next time on; ``changes`` are variables."""
        changes = {"INSULA_PORT": self.port, **changes}
        self._environment = outside() | variables(settings) | {name: str(value) for name, value in changes.items()}

    def start(self) -> None:
        self._seen = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_FIRST.get(self.command, ()), sys.executable, "-P", "-m", "insula", self.command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Wait until it works."""
        async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient() as client:
            while not await self._works(client):
                assert self._process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def says(self, text: str) -> None:
        """Wait until it says something."""
        async with asyncio.timeout(_START_SECONDS):
            while not self._said(text):
                assert self._process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def _works(self, client: httpx.AsyncClient) -> bool:
        if self.command == "worker":
            return self._said("worker started")
        try:
            return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def _said(self, text: str) -> bool:
        return text in self.log.read_text()[self._seen :]

    async def restart(self) -> None:
        """As an orchestrator does: SIGTERM, wait for the end, start, wait until it works."""
        await self.stop()
        self.start()
        await self.ready()

    async def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self._process.wait, 40) == 0, self.log.read_text()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Fleet:
    """Some processes of each kind."""

    def __init__(self, settings: Settings, folder: Path, *, apis: int, workers: int) -> None:
        self.apis = [Place("api", settings, folder / f"api{number}.log") for number in range(apis)]
        self.workers = [Place("worker", settings, folder / f"worker{number}.log") for number in range(workers)]

    @property
    def _places(self) -> Sequence[Place]:
        return [*self.apis, *self.workers]

    async def __aenter__(self) -> Self:
        for place in self._places:
            place.start()
        try:
            for place in self._places:
                await place.ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for place in self._places:
            place.end()

    async def roll(self, restarts: int) -> None:
        """Restart one API process after the other, and with each a worker."""
        for number in range(restarts):
            api, worker = self.apis[number % len(self.apis)], self.workers[number % len(self.workers)]
            await asyncio.gather(api.restart(), worker.restart())
