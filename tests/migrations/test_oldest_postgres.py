"""The schema and its isolation hold on the oldest PostgreSQL that we promise, as a Linux distribution ships it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.embedded.postgres import OLDEST, EmbeddedPostgres
from tests.architecture.sources import ROOT
from tests.conftest import QUICK

SYSTEM = Path("/usr/lib/postgresql")


@pytest.fixture
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    versions = sorted(int(path.name) for path in SYSTEM.glob("[0-9]*") if (path / "bin" / "initdb").exists())
    assert versions, f"there is no PostgreSQL in {SYSTEM}; Debian: apt install postgresql"
    assert versions[0] >= OLDEST
    folder = tmp_path_factory.mktemp("oldest")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o711)  # a server that does not run as root must be able to enter
    with EmbeddedPostgres(folder / "server", binaries=SYSTEM / str(versions[0]) / "bin", settings=QUICK) as server:
        yield server


@pytest.mark.peers
def test_migrations_and_isolation_hold_on_the_oldest_postgres(oldest: EmbeddedPostgres) -> None:
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
