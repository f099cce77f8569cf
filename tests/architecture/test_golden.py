"""What a program writes and a person looks at, when it has changed: the inventory, the diagram, the permission matrix."""

from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from insula.app import create_litestar
from insula.core.catalogue.inventory import read_inventory
from insula.schema import INVENTORY
from insula.settings import Settings
from tests.architecture.matrix import MATRIX, matrix_of
from tests.architecture.sources import ROOT
from tests.conftest import TEMPLATE
from tests.migrations.diagram import DIAGRAM, drawn

WRITE_ANEW = f"./insula test {Path(__file__).relative_to(ROOT)} --write-golden"

Compare = Callable[[Path, str], None]


@pytest.fixture
def compare(pytestconfig: pytest.Config) -> Compare:
    """A file and what should stand in it: written, if that was asked for, and compared."""

    def compare(file: Path, text: str) -> None:
        if pytestconfig.getoption("--write-golden"):
            file.write_text(text, encoding="utf-8")
        found = file.read_text(encoding="utf-8")
        assert found.splitlines(keepends=True) == text.splitlines(keepends=True), f"if it should change: {WRITE_ANEW}"

    return compare


async def test_the_inventory_and_the_diagram_are_those_of_the_migrations(
    addresses: dict[str, str], compare: Compare
) -> None:
    connection = await asyncpg.connect(addresses["admin"], database=TEMPLATE)
    try:
        async with connection.transaction():
            found = await read_inventory(connection)
        diagram = await drawn(connection)
    finally:
        await connection.close()
    compare(INVENTORY, "".join(f"{line}\n" for line in found))
    compare(DIAGRAM, diagram)


def test_the_matrix_is_the_one_that_was_reviewed(settings: Settings, compare: Compare) -> None:
    compare(MATRIX, matrix_of(create_litestar(settings)))  # started it would refuse the inventory of before
