"""What a migration's own text must say."""

import ast
import re
from pathlib import Path

import pytest

from insula.core.catalogue.rights import CONTEXT
from insula.schema import MIGRATIONS
from tests.architecture.sources import ROOT, parse
from tests.migrations.conftest import SCRIPTS, VERSIONS

LOCK_TIMEOUT = re.compile(r"\bSET (?:LOCAL )?lock_timeout = '(\w+)'(?! AS \$\$)")
"""Of a migration: a function that says how long it waits itself is called by others, later."""
FIRST = re.compile(r"op\.execute\([\"']SET LOCAL lock_timeout = '1500ms'[\"']\)")
"""More than deadlock_timeout (1 s), after which PostgreSQL sends an autovacuum away, and less than anybody may wait."""
WALK = ROOT / "src" / "insula" / "features" / "projects" / "README.md"
TOLD = [
    MIGRATIONS / "script.py.mako",
    WALK,
    *SCRIPTS,
    *VERSIONS,
    *sorted(Path(__file__).with_name("expansion").glob("own_*.py")),
]
every_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.stem)


@every_version
def test_the_way_up_and_the_way_down_wait_for_locks_only_briefly(version: Path) -> None:
    """A migration that queues for a lock stops everybody who queues behind it."""
    source = parse(version.name, version.read_text(encoding="utf-8"))
    for function in source.functions():
        if function.name in {"upgrade", "downgrade"}:
            assert FIRST.fullmatch(ast.unparse(function.body[0])), function.name


@pytest.mark.parametrize("text", TOLD, ids=lambda path: path.name)
def test_one_time_is_told_wherever_a_migration_waits_for_a_lock(text: Path) -> None:
    assert set(LOCK_TIMEOUT.findall(text.read_text(encoding="utf-8"))) <= {"1500ms"}


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
