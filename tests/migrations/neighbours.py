"""`./insula python -m tests.migrations.neighbours`: two releases, each with its API tests on the other's schema."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from insula.schema import BRANCHES, _newest, _revisions, state_of
from tests.architecture.sources import ROOT
from tests.migrations.expansion import copied, plant, use

TESTS: Final = ("tests/features",)
_START: Final = ("-n", "0", "-x", "tests/features/test_access.py")
"""Before the first of these the program has started, or refused to."""
_REFUSAL: Final = re.compile(r"^[E|\s]*\S*SchemaBehind: (.*)$", re.MULTILINE)
_UNPROVEN: Final = re.compile(r"^[E|\s]*\S*Unproven: .*\n?.*$", re.MULTILINE)


class Schema(msgspec.Struct, frozen=True):
    """A database that these releases migrated one after the other, the last of them as far as it says."""

    makers: tuple[Path, ...]
    until: str = ""

    def options(self) -> list[str]:
        until = [f"--schema-until={self.until}"] if self.until else []
        return [*(f"--schema-from={maker}" for maker in self.makers), *until]


class Verdict(msgspec.Struct, frozen=True):
    """How one release did on the schema of another."""

    title: str
    passed: bool
    told: str


def tried(code: Path, schema: Schema, title: str, arguments: Sequence[str] = TESTS) -> Verdict:
    """The API tests that come with ``code``, on that database. Where none passed, nothing was proven."""
    began = time.monotonic()
    run = _run(code, schema, arguments)
    *lines, last = [*run.stderr.strip().splitlines(), *run.stdout.strip().splitlines()] or [""]
    unproven = _UNPROVEN.findall(run.stdout)[:1]
    told = "\n".join([*unproven, *(line for line in lines if line.startswith(("FAILED ", "ERROR ", "ERROR: "))), last])
    passed = run.returncode == 0 and re.search(r"\b[1-9]\d* passed\b", last) is not None
    return Verdict(title, passed, f"{told} ({time.monotonic() - began:.0f} s)")


def refused(code: Path, schema: Schema, title: str) -> Verdict:
    """That this program does not start there, and says for want of what: seen, not concluded."""
    run = _run(code, schema, _START)
    if (said := _REFUSAL.search(run.stdout)) is None:
        last = [*run.stdout.strip().splitlines(), ""][-1]
        return Verdict(title, passed=False, told=f"nobody refused for want of {needed_by(code)}: {last}")
    wanted = f"this program needs {needed_by(code)}: run `insula migrate` first."
    return Verdict(title, passed=run.returncode != 0 and said[1].endswith(wanted), told=said[1])


def needed_by(code: Path) -> str:
    """The oldest schema that a program starts on."""
    return state_of(_revisions(_branches(code), unneeded=False))


def behind(code: Path, schema: Path) -> str | None:
    """Which revision this code needs that the other's schema has not: it does not start on it, which is its right."""
    there = _newest(state_of(_revisions(_branches(schema))).split())
    needed = _newest(needed_by(code).split())
    return " ".join(revision for branch, revision in needed.items() if there.get(branch, "") < revision) or None


def next_release(folder: Path) -> Path:
    """This tree with revisions more: its program uses what the first one makes, and nothing yet of the others."""
    checkout = copied(folder)
    plant(checkout / "migrations" / "own")
    use(checkout)
    return checkout


def side_by_side(
    old: Path, new: Path, names: tuple[str, str], arguments: Sequence[str] = TESTS, *, fresh: bool = False
) -> Iterator[Verdict]:
    """Both ways, as a release goes: the old program while and after the new one's migrations run, then the new one.

    What the new program needs comes before it; on a schema without, it must refuse, and then run where no more was
    migrated than that. What it does not use yet may come after it. A ``fresh`` schema was the new one's from the start.
    """
    before, after = names
    makers = (new,) if fresh else (old, new)
    yield tried(old, Schema(makers), f"{before} on the schema of {after}", arguments)
    title = f"{after} on the schema of {before}"
    if behind(new, old) is None:
        yield tried(new, Schema((old,)), title, arguments)
        return
    yield refused(new, Schema((old,)), f"{title} does not start")
    needed = Schema(makers, needed_by(new))
    yield tried(new, needed, f"{title}, migrated to {needed.until} and no further", arguments)


def since_before(before: Path, reference: str, arguments: Sequence[str] = TESTS) -> Iterator[Verdict]:
    """The release of before and this one. A revision that was changed in place since reaches nobody who ran it."""
    reached = tried(ROOT, Schema((before, ROOT)), f"this program where {reference} stood, once migrated", _START)
    yield reached
    names = (f"the program of {reference}", "this one")
    yield from side_by_side(before, ROOT, names, arguments, fresh=not reached.passed)


def main(previous: str | None, arguments: Sequence[str]) -> bool:
    passed = True
    with tempfile.TemporaryDirectory(prefix="insula-neighbours-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # where Postgres runs as nobody, it must be able to enter
        following = next_release(folder / "next")
        for verdict in side_by_side(ROOT, following, ("this program", "the next release"), arguments):
            passed &= _told(verdict)
        if reference := previous or _previous():
            for verdict in since_before(_archived(reference, folder / "previous"), reference, arguments):
                passed &= _told(verdict)
        else:
            print("NO RELEASE BEFORE THIS ONE: no tag is an ancestor. --previous COMMIT compares with a commit.")
    return passed


def _told(verdict: Verdict) -> bool:
    print(f"{'passed' if verdict.passed else 'FAILED'}  {verdict.title}: {verdict.told}", flush=True)
    return verdict.passed


def _run(code: Path, schema: Schema, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *schema.options(), *arguments]
    return subprocess.run(command, cwd=code, env=_environment(code), capture_output=True, text=True, check=False)


def _previous() -> str | None:
    """The latest release before this one, by its tag; a clone that may lack tags cannot say that there is none."""
    if _git("rev-parse", "--is-shallow-repository").strip() == "true":
        sys.exit("this clone is shallow, so whether anything was released is unknown: git fetch --unshallow --tags")
    tags = _git("tag", "--merged", "HEAD", "--sort=-v:refname", "--no-contains", "HEAD").split()
    return tags[0] if tags else None


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
