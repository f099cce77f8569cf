"""An expansion of a large table, as the next release or whoever builds on us would write it, and how it is planted."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.architecture.sources import ROOT

EXPANSION: Final = sorted(Path(__file__).parent.glob("own_*.py"))
FOLDERS: Final = ("src", "migrations", "tests", "deploy", "pyproject.toml", ".squawk.toml", "LICENSE", "README.md")


def copied(folder: Path, names: Iterable[str] = FOLDERS) -> Path:
    """A copy of this tree, or of parts of it, that may be changed."""
    folder.mkdir(parents=True)
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def plant(own: Path, revisions: Iterable[Path] = EXPANSION) -> None:
    """Put revisions behind those that stand in a branch already."""
    there = len(list(own.glob("own_*.py")))
    for path in revisions:
        text = renumbered(path.read_text(encoding="utf-8"), there)
        (own / renumbered(path.name, there)).write_text(text, encoding="utf-8")


def renumbered(text: str, there: int) -> str:
    """What a revision says, or what it is called, where so many stand before it."""
    if there:
        text = text.replace("down_revision = None", 'down_revision = "own_0000"')
        text = text.replace('branch_labels = ("own",)\n', "")
    return re.sub(r"own_(\d{4})", lambda found: f"own_{int(found[1]) + there:04}", text)
