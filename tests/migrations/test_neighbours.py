"""During a release two programs stand on one schema: each works on the other's, as far as it says so."""

import shutil
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.migrations.expansion import EXPANSION
from tests.migrations.neighbours import behind, next_release, side_by_side, tried

SOME = ("-n", "0", "tests/features/test_projects.py")
"""What reads and writes the table that the next release expands; the command runs every test of every feature."""


@pytest.fixture(scope="module")
def following(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next_release(tmp_path_factory.mktemp("neighbours") / "next")


def test_this_program_works_on_the_next_schema_and_the_next_program_on_this_one(following: Path) -> None:
    verdicts = side_by_side(ROOT, following, ("this program", "the next release"), SOME)
    assert [verdict for verdict in verdicts if not verdict.passed] == []
    assert all("passed" in verdict.told for verdict in verdicts), verdicts


def test_a_schema_that_takes_away_what_this_program_uses_is_found(tmp_path: Path) -> None:
    following = next_release(tmp_path / "next")
    last = max((following / "migrations" / "own").glob("own_*.py"))
    drop = '    op.execute("ALTER TABLE app.project DROP COLUMN status")\n'
    last.write_text(
        last.read_text(encoding="utf-8").replace("\n\n\ndef down", f"\n{drop}\n\ndef down"), encoding="utf-8"
    )
    verdict = tried(ROOT, following, "this program", [*SOME, "-x"])
    assert not verdict.passed
    assert "1 failed" in verdict.told


def test_a_program_that_uses_what_is_new_needs_it_first(tmp_path: Path, following: Path) -> None:
    assert behind(following, ROOT) is None
    using = tmp_path / "using"
    shutil.copytree(following, using)
    own = sorted((using / "migrations" / "own").glob("own_*.py"))[-len(EXPANSION)]
    own.write_text(own.read_text(encoding="utf-8").replace("needed = False\n", ""), encoding="utf-8")
    assert behind(using, ROOT) == own.name[:8]
