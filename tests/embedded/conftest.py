"""Embedded servers of a test's own, stopped at its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insula.embedded import EmbeddedPostgres
from tests.embedded.servers import Server

QUICK = {"fsync": "off"}


@pytest.fixture(scope="session")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Postgres that has run once, for tests that leave it whole: initdb is slow."""
    folder = tmp_path_factory.mktemp("initialized")
    with EmbeddedPostgres(folder, settings=QUICK):
        return folder


@pytest.fixture
def server(tmp_path: Path, initialized: Path) -> Iterator[Server]:
    """Make servers in the initialized folder, or by name in a new one."""
    made: list[EmbeddedPostgres] = []

    def make(name: str | None = None, **options: Any) -> EmbeddedPostgres:
        folder = tmp_path / name if name else initialized
        made.append(EmbeddedPostgres(folder, **{"settings": QUICK, **options}))
        return made[-1]

    yield make
    for each in made:
        each.stop()
