"""Every statement that a migration really sends passes the linter for migrations."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine, event

from insula.core import rls
from tests.architecture.sources import ROOT
from tests.migrations.conftest import SCRIPTS, Schema, revisions

RELEASED: Final[str | None] = None
"""The last revision of the first release: up to it, migrations run on empty tables."""

CONFIG = ROOT / ".squawk.toml"
_OUTSIDE: Final = "_outside"
ON_EMPTY_TABLES = ["adding-field-with-default", "ban-drop-constraint"]
"""What costs nothing, and breaks nobody, where nothing runs yet."""


class Sent:
    """What was sent to the database: statement by statement, and scripts as a whole."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.outside: list[str] = []
        """Of any transaction."""

    def write(self, folder: Path, name: str) -> None:
        """Behind what is there already, for the linter."""
        for statements, outside in ((self.inside, ""), (self.outside, _OUTSIDE)):
            if statements:
                with (folder / f"{name}{outside}.sql").open("a", encoding="utf-8") as file:
                    file.write("\n".join(statements) + "\n")


def squawk(*files: Path, unless: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Its verdict; ``unless`` are rules besides those that the configuration excludes."""
    excluded = tomllib.loads(CONFIG.read_text())["excluded_rules"] + (unless or [])
    linter = Path(sys.executable).with_name("squawk")
    command = [str(linter), "--reporter", "gcc", "--config", str(CONFIG), "--exclude", ",".join(excluded)]
    if any(_OUTSIDE in path.name for path in files):
        command.append("--no-assume-in-transaction")
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    sent = Sent()
    run_script = rls.run_script

    def hear(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "migration.version" not in statement:  # alembic's own book-keeping
            outside = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
            (sent.outside if outside else sent.inside).append(statement.strip().rstrip(";") + ";")

    def hear_script(op: Any, path: Path | str, **options: Any) -> None:
        sent.inside.append(Path(path).read_text(encoding="utf-8"))
        run_script(op, path, **options)

    monkeypatch.setattr(rls, "run_script", hear_script)  # migrations are loaded anew each time they run
    event.listen(Engine, "before_cursor_execute", hear)
    yield sent
    event.remove(Engine, "before_cursor_execute", hear)


async def test_what_the_migrations_send_passes(own: Path, schema: Schema, sent: Sent, tmp_path: Path) -> None:
    """Those of the expansion too, which show how it is done."""
    await schema.move("base")
    first = tmp_path / "first_release.sql"
    for revision in revisions():
        sent.inside, sent.outside = [], []
        await schema.move(revision)
        born = revision.startswith("own_") or (RELEASED is not None and revision > RELEASED)
        sent.write(tmp_path, revision if born else first.stem)
    assert first.read_text(encoding="utf-8").count("CREATE POLICY") > 20
    assert any("CONCURRENTLY" in path.read_text(encoding="utf-8") for path in tmp_path.glob(f"*{_OUTSIDE}.sql"))
    verdicts = [squawk(first, unless=ON_EMPTY_TABLES), *(squawk(path) for path in tmp_path.glob("*0*.sql"))]
    assert not any(verdict.returncode for verdict in verdicts), [verdict.stdout for verdict in verdicts]


def test_the_scripts_pass(tmp_path: Path) -> None:
    """Each as the migration runs it, which has set a timeout for locks."""
    for script in SCRIPTS:
        (tmp_path / script.name).write_text("SET LOCAL lock_timeout = '1500ms';\n" + script.read_text(encoding="utf-8"))
    verdict = squawk(*tmp_path.glob("*.sql"))
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE app.project ALTER COLUMN name TYPE varchar(10);",
        "ALTER TABLE app.project DROP COLUMN name;",
        "ALTER TABLE app.project RENAME COLUMN name TO title;",
        "ALTER TABLE app.project ADD COLUMN size bigint NOT NULL;",
        "ALTER TABLE app.project ALTER COLUMN team_id SET NOT NULL;",
        "ALTER TABLE app.project ADD CONSTRAINT short CHECK (length(name) < 100);",
        "CREATE INDEX project_size ON app.project (size);",
    ],
)
def test_the_linter_stops_what_breaks_a_running_program(statement: str, tmp_path: Path) -> None:
    (tmp_path / "planted.sql").write_text(f"SET LOCAL lock_timeout = '1500ms';\n{statement}\n")
    assert squawk(tmp_path / "planted.sql").returncode == 1
