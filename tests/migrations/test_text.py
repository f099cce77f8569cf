"""What a migration's own text must say."""

import ast
import re
from pathlib import Path

import pytest

from insula.core.catalogue.rights import CONTEXT
from tests.architecture.sources import parse
from tests.migrations.conftest import SCRIPTS, VERSIONS

LOCK_TIMEOUT = re.compile(r"SET LOCAL lock_timeout = '[0-9]+m?s'")
every_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.stem)


@every_version
def test_the_way_up_and_the_way_down_wait_for_locks_only_briefly(version: Path) -> None:
    """A migration that queues for a lock stops everybody who queues behind it."""
    source = parse(version.name, version.read_text(encoding="utf-8"))
    for function in source.functions():
        if function.name in {"upgrade", "downgrade"}:
            assert LOCK_TIMEOUT.search(ast.unparse(function.body[0])), function.name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_functions_of_a_script_are_dropped_on_the_way_down(script: Path) -> None:
    """A revision that replaces functions of an older one runs its script in both directions."""
    made = set(re.findall(r"CREATE (?:OR REPLACE )?FUNCTION app\.(\w+)", script.read_text(encoding="utf-8")))
    users = [path.read_text(encoding="utf-8") for path in VERSIONS if f'"{script.name}"' in path.read_text()]
    if script.name == "provision.sql":
        assert made == set()
        return
    assert users, f"no migration runs {script.name}"
    dropped = {name for text in users for name in re.findall(r'"(\w+)"|FUNCTION app\.(\w+)', text) for name in name}
    assert made <= dropped


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_function_with_its_makers_rights_says_where_it_looks(script: Path) -> None:
    for function in re.findall(r"CREATE (?:OR REPLACE )?FUNCTION.*?\$\$", script.read_text(), re.DOTALL):
        if "SECURITY DEFINER" in function and not re.search(rf"FUNCTION app\.({'|'.join(CONTEXT)})\(", function):
            assert "SET search_path = pg_catalog, pg_temp" in function, function.split("(")[0]
