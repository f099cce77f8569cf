"""The table of OWASP ASVS 5.0, levels 1 and 2: read, and compared with the standard's ids and with what there is."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from tests.attacks.__main__ import covered

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
HIGHEST_LEVEL = 2


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """A requirement, and exactly one of: tests, evidence, why it does not apply, or what it waits for."""

    level: int
    asks: str
    test: list[int | str] = []
    """Numbers of attacks, and tests as file::name below tests/."""
    evidence: str | None = None
    """A file, in which ``look`` says what to see; in a README that begins with words that stand there."""
    look: str = ""
    not_applicable: str | None = None
    open: str | None = None
    so_far: str = ""
    """What there is already of something open."""

    @property
    def states(self) -> list[str]:
        return [name for name in ("test", "evidence", "not_applicable", "open") if getattr(self, name)]


class Standard(msgspec.Struct):
    """What the standard asks, told by ids alone."""

    features: list[str]
    levels: dict[str, str]

    def required(self) -> dict[str, int]:
        """The requirements of levels 1 and 2: id -> level."""
        every = {
            f"{section}.{number}": int(level)
            for section, digits in self.levels.items()
            for number, level in enumerate(digits, 1)
        }
        return {requirement: level for requirement, level in every.items() if level <= HIGHEST_LEVEL}


def standard() -> Standard:
    return msgspec.convert(tomllib.loads(Path(__file__).with_name("standard.toml").read_text("utf-8")), Standard)


def chapters() -> dict[str, dict[str, Row]]:
    """Name of a file -> its rows by id. Within one file TOML refuses an id that occurs twice."""
    files = sorted((Path(__file__).parent / "chapters").glob("*.toml"))
    return {file.stem: msgspec.convert(tomllib.loads(file.read_text("utf-8")), dict[str, Row]) for file in files}


def faults(found: dict[str, dict[str, Row]], asked: Standard) -> Iterator[str]:
    """All that is wrong with the table."""
    required = asked.required()
    ids = [requirement for rows in found.values() for requirement in rows]
    yield from (f"{requirement} is missing" for requirement in required if requirement not in ids)
    yield from (f"{requirement} is twice in the table" for requirement in {*ids} if ids.count(requirement) > 1)
    for name, rows in found.items():
        for requirement, row in rows.items():
            if requirement not in required:
                yield f"{requirement} is no requirement of these levels"
            elif row.level != required[requirement]:
                yield f"{requirement} is of level {required[requirement]}"
            if int(name[1:3]) != int(requirement.partition(".")[0]):
                yield f"{requirement} stands in {name}"
            yield from (f"{requirement}: {fault}" for fault in _faults_of(row, asked.features))
    used = {"us", *(row.open for rows in found.values() for row in rows.values())}  # nothing needs to wait for us
    yield from (f"nothing waits for {feature}" for feature in asked.features if feature not in used)


def _faults_of(row: Row, features: list[str]) -> Iterator[str]:
    if len(row.states) != 1:
        yield f"is {row.states or 'nothing'} at once"
    yield from (f"there is no test {test}" for test in row.test if test not in _tests())
    if row.evidence is not None:
        if not (ROOT / row.evidence).is_file():
            yield f"there is no file {row.evidence}"
        elif not row.look:
            yield f"does not say what to see in {row.evidence}"
        elif row.evidence.endswith(".md") and not _stands_in(row.evidence, row.look.partition(":")[0]):
            yield f"{row.evidence} does not say {row.look.partition(':')[0]!r}"
    if row.open is not None and row.open not in features:
        yield f"{row.open!r} is nothing to wait for"
    if row.open == "us" and not row.so_far:
        yield "waits for us without a word of why"


def _stands_in(file: str, words: str) -> bool:
    return words in (ROOT / file).read_text(encoding="utf-8")


@cache
def _tests() -> frozenset[int | str]:
    """Every attack that has a test, and every test."""
    names = {
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    return frozenset({*names, *covered()})
