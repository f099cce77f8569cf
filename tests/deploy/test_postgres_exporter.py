"""What rules and dashboards ask of postgres_exporter, Debian's tells, set up as the README says."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
import httpx
import pytest

from insula.embedded.postgres import EmbeddedPostgres
from tests.deploy.promql import selectors
from tests.deploy.test_installation import DEPLOY, block
from tests.deploy.test_monitoring import OF_POSTGRES_EXPORTER, expressions
from tests.isolation.standby import DATABASE, Pair

BINARIES: Final = Path("/usr/lib/postgresql")
DELAY: Final = "pg_replica_delay_seconds"

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        shutil.which("prometheus-postgres-exporter") is None, reason="prometheus-postgres-exporter is not installed"
    ),
]


class Sample(NamedTuple):
    """A line of what it tells; the library's own reader would rename counters, and Prometheus does not."""

    name: str
    labels: dict[str, str]
    value: float


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Of the PostgreSQL that the README installs."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o711)  # a server that does not run as root must be able to enter
    servers = Pair(tmp_path, min(BINARIES.glob("[0-9]*/bin"), key=lambda path: int(path.parent.name)))
    await servers.start()
    yield servers
    servers.stop()


class Exporter:
    """The package's unit, after the README's commands: what they wrote and what they said to PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        commands = block("prometheus-alertmanager")
        default, etc = folder / "default", folder / "etc"
        default.mkdir()
        etc.mkdir()
        places = {"/opt/insula": DEPLOY.parent, "/etc/prometheus/": f"{etc}/", "/etc/default/": f"{default}/"}
        for ours, other in places.items():
            assert ours in commands
            commands = commands.replace(ours, str(other))
        mute = "apt() { :; }\nsystemctl() { :; }\nrunuser() { cat; }\n"
        self.sql = _shell(mute + commands)
        file = default / "prometheus-postgres-exporter"
        self.arguments, self.source = _shell(f'. {file}; echo "$ARGS"; echo "$DATA_SOURCE_NAME"').splitlines()

    @asynccontextmanager
    async def beside(self, server: EmbeddedPostgres) -> AsyncIterator[Callable[[], list[Sample]]]:
        """Asked as often as one likes. Tests' servers have no socket, and a port and a password of their own."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        assert "127.0.0.1:9187" in self.arguments
        assert "host=/run/postgresql" in self.source
        here = f"host=127.0.0.1 port={server.port} password=word sslmode=disable"
        process = subprocess.Popen(
            ["prometheus-postgres-exporter", *self.arguments.replace(":9187", f":{port}").split()],
            env={"DATA_SOURCE_NAME": self.source.replace("host=/run/postgresql", here)},
            stderr=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(20):
                while not _listens(port):
                    await asyncio.sleep(0.05)
            yield lambda: _read(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text)
        finally:
            process.terminate()
            process.wait(10)


def _shell(commands: str) -> str:
    return subprocess.run(["sh", "-euc", commands], capture_output=True, text=True, check=True).stdout


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _read(text: str) -> list[Sample]:
    lines = re.findall(r"(?m)^(\w+)(?:\{(.*)\})? (\S+)$", text)
    return [Sample(name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for name, labels, value in lines]


def delay(samples: list[Sample]) -> float:
    (found,) = (sample.value for sample in samples if sample.name == DELAY)
    return found


async def write(server: EmbeddedPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def reaches(ask: Callable[[], list[Sample]], awaited: Callable[[float], bool]) -> None:
    async with asyncio.timeout(30):
        while not awaited(delay(ask())):
            await asyncio.sleep(0.1)


async def test_every_series_that_is_asked_of_it_is_there_and_the_delay_is_a_standbys(
    pair: Pair, tmp_path: Path
) -> None:
    exporter = Exporter(tmp_path)
    await write(pair.primary, exporter.sql, "ALTER ROLE prometheus PASSWORD 'word'")
    await pair.caught_up()
    async with exporter.beside(pair.primary) as of_primary, exporter.beside(pair.standby) as of_standby:
        primary, standby = of_primary(), of_standby()
        assert_all_is_there(primary, standby)
        assert DELAY not in {sample.name for sample in primary}
        await asyncio.sleep(2)  # nothing is written, which is no delay
        assert delay(of_standby()) == 0
        async with pair.paused():
            await write(pair.primary, "CREATE TABLE written ()")
            await reaches(of_standby, lambda seconds: seconds > 2)
        await reaches(of_standby, lambda seconds: seconds == 0)
        pair.primary.stop()
        await reaches(of_standby, lambda seconds: seconds > 2)


def assert_all_is_there(primary: list[Sample], standby: list[Sample]) -> None:
    """Of each server, but for the delay, which only a standby has; and of our database, which panels name."""
    asked = {
        each.metric for _, expression in expressions() for each in selectors(expression) if each.metric[:3] == "pg_"
    }
    assert asked == OF_POSTGRES_EXPORTER.keys()
    for name, labels in OF_POSTGRES_EXPORTER.items():
        for samples in (standby,) if name == DELAY else (primary, standby):
            found = [sample.labels for sample in samples if sample.name == name]
            assert found, f"{name} is not there"
            assert all(labels <= each.keys() for each in found), name
            assert "datname" not in labels or DATABASE in {each["datname"] for each in found}, name
