"""Following the walk-through of the projects folder: its blocks are files and changes, its commands are run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT
from tests.migrations.expansion import renumbered

README = ROOT / "src" / "insula" / "features" / "projects" / "README.md"
BLOCK = re.compile(r'^```(?P<kind>\w+) title="(?P<path>[^"]+)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)

NOT_OURS = ("PYTEST_", "INSULA_", "COVERAGE_")
"""Variables of this run of the tests, which the copy has nothing to do with."""


RESOURCES = {"ticket": "tic", "trivet": "trv", "turret": "trt"}
"""What the resource may be called, and the prefix of its ids: the first is what the README says."""


class Steps:
    """The README's blocks, and a copy of the project to carry them out in.

    To the letter, unless the project has such a resource or revisions of its own already, as those do who build on it:
    then another name and the next number.
    """

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        self._before = len(list((copy / "migrations" / "own").glob("own_*.py")))
        features = copy / "src" / "insula" / "features"
        self._resource = next(name for name in RESOURCES if not (features / f"{name}s").exists())

    def named(self, text: str) -> str:
        """Text about tickets, as this copy calls them."""
        resource, prefix = self._resource, RESOURCES[self._resource]
        for old, new in (
            ("ticket", resource),
            ("Ticket", resource.title()),
            ("TICKET", resource.upper()),
            ('"tic"', f'"{prefix}"'),
            ("tic_", f"{prefix}_"),
        ):
            text = text.replace(old, new)
        return renumbered(text, self._before)

    def follow(self) -> None:
        self.write()
        *before, quick, last = self._commands()
        for words in before:
            self._command(words)
        assert quick[:2] == last == ["./insula", "test"]  # test_the_generated_tests_cover_the_new_resource

    def write(self) -> None:
        for block in BLOCK.finditer(README.read_text(encoding="utf-8")):
            path, text = self.named(block["path"]), self.named(block["text"])
            (self._insert if block["kind"] == "diff" else self._write)(self.copy / path, text)

    def quick_tests(self) -> list[str]:
        """What the README says to run before everything is."""
        return self._commands()[-2][2:]

    def run(self, *command: str, **environment: str) -> str:
        """Run Python with the copy's program; returns what it printed."""
        run = subprocess.run(
            [sys.executable, *command], cwd=self.copy, env=self.environment(**environment), capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-4000:]
        return run.stdout

    def environment(self, **more: str) -> dict[str, str]:
        """Ours, without what belongs to this run of the tests."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
        return ours | {"PYTHONPATH": f"{self.copy / 'src'}:{self.copy}"} | more

    def _commands(self) -> list[list[str]]:
        (commands,) = COMMANDS.findall(README.read_text(encoding="utf-8"))
        return [shlex.split(line, comments=True) for line in commands.splitlines()]

    def _command(self, words: list[str]) -> None:
        """With the packages of this run of the tests: the copy has no .venv."""
        match words:
            case ["./insula", "test", *arguments]:
                self.run("-m", "pytest", "-q", "-n", "0", *arguments)
            case ["./insula", "python", *arguments]:
                self.run(*arguments)
            case _:
                raise NotImplementedError(words)

    def _write(self, path: Path, text: str) -> None:
        assert not path.exists(), path
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _insert(self, path: Path, text: str) -> None:
        lines = text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        current = path.read_text(encoding="utf-8")
        assert current.count(before) == 1, f"{before!r} stands {current.count(before)} times in {path}"
        path.write_text(current.replace(before, after), encoding="utf-8")
