"""During a release two programs stand on one schema: each works on the other's, as far as it says so."""

import shutil
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.migrations.expansion import copied, first_in, plant, replace, use
from tests.migrations.neighbours import (
    Schema,
    behind,
    needed_by,
    next_release,
    refused,
    side_by_side,
    since_before,
    tried,
)

SOME = ("-n", "0", "tests/features/test_projects.py", "-k", "created_read_changed or filtered_sorted")
"""What reads and writes the table that the next release expands; the command runs every test of every feature."""
STATISTICS = '    hide_statistics(op, "app.project")\n'


@pytest.fixture(scope="module")
def following(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next_release(tmp_path_factory.mktemp("neighbours") / "next")


def test_this_program_works_on_the_next_schema_and_the_next_program_on_this_one(following: Path) -> None:
    assert behind(following, ROOT) == first_in(following).name[:8]
    verdicts = [*side_by_side(ROOT, following, ("this program", "the next release"), SOME)]
    assert [verdict for verdict in verdicts if not verdict.passed] == []
    ran, refusal, reached = (verdict.told for verdict in verdicts)
    assert " passed" in ran
    assert f"this program needs {needed_by(following)}: run `insula migrate` first." in refusal
    assert " passed" in reached


@pytest.mark.parametrize(
    "harm",
    ["RENAME COLUMN status TO state", "ADD COLUMN visible boolean NOT NULL"],
)
def test_a_schema_on_which_this_program_cannot_work_is_found(following: Path, tmp_path: Path, harm: str) -> None:
    harmful = shutil.copytree(following, tmp_path / "next")
    replace(first_in(harmful), STATISTICS, f'    op.execute("ALTER TABLE app.project {harm}")\n{STATISTICS}')
    verdict = next(side_by_side(ROOT, harmful, ("this program", "the next release"), [*SOME, "-x"]))
    assert not verdict.passed
    assert "1 failed" in verdict.told


def test_a_program_that_uses_what_is_new_and_does_not_say_so_is_found(tmp_path: Path) -> None:
    careless = copied(tmp_path / "careless")
    plant(careless / "migrations" / "own")
    use(careless, needed=False)
    assert behind(careless, ROOT) is None
    verdict = tried(careless, Schema((ROOT,)), "the next release on this schema", [*SOME, "-x"])
    assert not verdict.passed
    assert "1 failed" in verdict.told


def test_a_revision_that_was_changed_after_its_release_is_found(tmp_path: Path) -> None:
    released = copied(tmp_path / "released")
    replace(released / "migrations" / "versions" / "0004_projects.py", "BETWEEN 1 AND 200", "BETWEEN 1 AND 150")
    verdict = next(since_before(released, "the release of before", SOME))
    assert not verdict.passed
    assert "project_name" in verdict.told


def test_a_program_that_starts_although_it_should_refuse_is_found() -> None:
    verdict = refused(ROOT, Schema((ROOT,)), "this program on its own schema")
    assert not verdict.passed
    assert verdict.told.startswith("nobody refused")


def test_where_no_test_ran_nothing_is_proven() -> None:
    verdict = tried(ROOT, Schema((ROOT,)), "no test at all", [*SOME, "--collect-only"])
    assert not verdict.passed
