"""An expansion of a large table, as the next release or whoever builds on us would write it, and how it is planted."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.architecture.sources import ROOT

EXPANSION: Final = sorted(Path(__file__).parent.glob("own_*.py"))
_MODEL: Final = "src/insula/features/projects/models.py"
_NAME: Final = "    name_norm: Mapped[str]\n"
_INITIAL: Final = "    initial: Mapped[str | None]\n"
FOLDERS: Final = ("src", "migrations", "tests", "deploy", "pyproject.toml", ".squawk.toml", "LICENSE", "README.md")
_BEING_WRITTEN: Final = shutil.ignore_patterns("*.pyc.*")
"""By another process of the tests: it is gone before it is copied."""


def copied(folder: Path, names: Iterable[str] = FOLDERS) -> Path:
    """A copy of this tree, or of parts of it, that may be changed; with what Python compiled, which takes seconds."""
    folder.mkdir(parents=True)
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=_BEING_WRITTEN)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def plant(own: Path, revisions: Iterable[Path] = EXPANSION) -> None:
    """Put revisions behind those that stand in a branch already."""
    there = len(list(own.glob("own_*.py")))
    for path in revisions:
        text = renumbered(path.read_text(encoding="utf-8"), there)
        (own / renumbered(path.name, there)).write_text(text, encoding="utf-8")


def use(checkout: Path, *, needed: bool = True) -> None:
    """Let the program of a release read and write what the first of the planted revisions makes, and say that it needs it."""
    replace(checkout / _MODEL, _NAME, _NAME + _INITIAL)
    if needed:
        replace(first_in(checkout), "needed = False\n", "")


def first_in(checkout: Path) -> Path:
    """The first of the planted revisions."""
    return sorted((checkout / "migrations" / "own").glob("own_*.py"))[-len(EXPANSION)]


def replace(path: Path, old: str, new: str) -> None:
    """In a file that says it once: what is planted must be there."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path} says {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def renumbered(text: str, there: int) -> str:
    """What a revision says, or what it is called, where so many stand before it."""
    if there:
        text = text.replace("down_revision = None", 'down_revision = "own_0000"')
        text = text.replace('branch_labels = ("own",)\n', "")
    return re.sub(r"own_(\d{4})", lambda found: f"own_{int(found[1]) + there:04}", text)
