"""`./insula python -m tests.migrations.neighbours`: two releases, each with its API tests on the other's schema."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from insula.schema import BRANCHES, _newest, _revisions, state_of
from tests.architecture.sources import ROOT
from tests.migrations.expansion import copied, plant

TESTS: Final = ("tests/features",)
_CHANGES: Final = ("src", "migrations/versions")


class Verdict(msgspec.Struct, frozen=True):
    """How one release did on the schema of another."""

    title: str
    passed: bool
    told: str


def tried(code: Path, schema: Path, title: str, arguments: Sequence[str] = TESTS) -> Verdict:
    """The API tests that come with ``code``, on a database that ``schema`` has migrated."""
    began = time.monotonic()
    environment = _environment(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--schema-from={schema}", *arguments]
    run = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=False)
    *lines, last = run.stdout.strip().splitlines() or run.stderr.strip().splitlines() or [""]
    told = "\n".join([*(line for line in lines if line.startswith(("FAILED ", "ERROR "))), last])
    return Verdict(title, run.returncode == 0, f"{told} ({time.monotonic() - began:.0f} s)")


def behind(code: Path, schema: Path) -> str | None:
    """Which revision this code needs that the other's schema has not: it does not start on it, which is its right."""
    there = _newest(state_of(_revisions(_branches(schema))).split())
    needed = _newest(state_of(_revisions(_branches(code), unneeded=False)).split())
    return " ".join(revision for branch, revision in needed.items() if there.get(branch, "") < revision) or None


def next_release(folder: Path) -> Path:
    """This tree with revisions of which its program uses nothing yet."""
    checkout = copied(folder)
    plant(checkout / "migrations" / "own")
    return checkout


def side_by_side(old: Path, new: Path, names: tuple[str, str], arguments: Sequence[str] = TESTS) -> list[Verdict]:
    """Both ways. What a program needs comes before it; what it does not use yet may come after it."""
    before, after = names
    verdicts = [tried(old, new, f"{before} on the schema of {after}", arguments)]
    title = f"{after} on the schema of {before}"
    if lacks := behind(new, old):
        told = f"does not start: it needs {lacks}, and says so. Migrate before it is rolled out."
        return [*verdicts, Verdict(title, passed=True, told=told)]
    return [*verdicts, tried(new, old, title, arguments)]


def main(previous: str | None, arguments: Sequence[str]) -> bool:
    with tempfile.TemporaryDirectory(prefix="insula-neighbours-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # where Postgres runs as nobody, it must be able to enter
        verdicts = side_by_side(ROOT, next_release(folder / "next"), ("this program", "the next release"), arguments)
        _tell(verdicts)
        reference = previous or _previous()
        archived = _archived(reference, folder / "previous")
        for verdict in side_by_side(archived, ROOT, (f"the program of {reference}", "this one"), arguments):
            _tell([verdict])
            verdicts.append(verdict)
    return all(verdict.passed for verdict in verdicts)


def _tell(verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        print(f"{'passed' if verdict.passed else 'FAILED'}  {verdict.title}: {verdict.told}", flush=True)


def _previous() -> str:
    """The latest release; before the first one, what was there before the last change of program or schema."""
    tags = _git("tag", "--merged", "HEAD", "--sort=-v:refname", "--no-contains", "HEAD").split()
    return tags[0] if tags else _git("log", "-1", "--format=%h", "--", *_CHANGES).strip() + "~1"


def _archived(reference: str, folder: Path) -> Path:
    folder.mkdir()
    archive = subprocess.run(["git", "archive", reference], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    if "--schema-from" not in (folder / "tests" / "conftest.py").read_text(encoding="utf-8"):
        sys.exit(f"the tests of {reference} cannot run on another's schema: they know no --schema-from")
    return folder


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _branches(checkout: Path) -> list[Path]:
    return [checkout / branch.relative_to(ROOT) for branch in BRANCHES]


def _environment(checkout: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("INSULA_", "PYTEST_"))}
    return inherited | {"PYTHONPATH": str(checkout / "src")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--previous", metavar="REF", help="the release of before: a tag or a commit")
    parser.add_argument(
        "tests", nargs="*", default=TESTS, help="what to run of both; tests/features, if nothing is said"
    )
    options = parser.parse_args()
    sys.exit(0 if main(options.previous, options.tests) else 1)
