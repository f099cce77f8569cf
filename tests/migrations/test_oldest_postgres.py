"""The schema and its isolation hold on the oldest PostgreSQL that we promise, as a Linux distribution ships it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from insula.embedded.postgres import OLDEST, EmbeddedPostgres
from tests.architecture.sources import ROOT
from tests.conftest import QUICK

SYSTEM = Path("/usr/lib/postgresql")
OURS = "SELECT datname FROM pg_database WHERE datname LIKE 'insula%'"


@pytest.fixture
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    binaries = SYSTEM / str(OLDEST) / "bin"
    assert (binaries / "initdb").exists(), (
        f"there is no PostgreSQL {OLDEST}; Debian 12: apt install postgresql-{OLDEST}"
    )
    folder = tmp_path_factory.mktemp("oldest")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o711)  # a server that does not run as root must be able to enter
    with EmbeddedPostgres(folder / "server", binaries=binaries, settings=QUICK) as server:
        yield server


@pytest.mark.peers
async def test_migrations_and_isolation_hold_on_the_oldest_postgres(oldest: EmbeddedPostgres) -> None:
    server = await asyncpg.connect(oldest.dsn())
    assert int(await server.fetchval("SHOW server_version_num")) // 10_000 == OLDEST
    assert await server.fetch(OURS) == []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/migrations", "tests/isolation"],
        cwd=ROOT,
        env=environment | {"INSULA_TEST_ADMIN_DATABASE_URL": oldest.dsn()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    (passed,) = re.findall(r"(\d+) passed", run.stdout)
    assert int(passed) > 500, run.stdout[-2000:]
    assert "skipped" not in run.stdout, run.stdout[-2000:]
    used = " ".join(row["datname"] for row in await server.fetch(OURS))
    await server.close()
    for name in ("insula_template", "insula_arena", "insula_broken"):
        assert name in used, f"it was another server that was tested: this one has {used}"
