"""The bill of materials, made by the commands in deploy/README.md."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
NEEDED_BY_LITESTAR = {"pyyaml"}
"""What the tests ask for, and an installation has all the same."""


def names(requirements: list[object]) -> set[str]:
    return {re.split(r"[\[<>=;]", each)[0] for each in requirements if isinstance(each, str)}


@pytest.mark.peers
def test_the_documented_commands_list_what_an_installation_is_made_of_and_nothing_else(tmp_path: Path) -> None:
    section = README.partition("## What an installation is made of")[2].partition("\n## ")[0]
    commands = section.partition("```sh\n")[2].partition("```")[0].replace("/tmp/sbom", str(tmp_path))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", commands], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "insula.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"], bill["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "1.6",
        "insula",
    )
    versions = {each["name"]: each["version"] for each in bill["components"]}
    locked = dict(
        re.findall(r"^([\w-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert versions.items() <= locked.items()
    assert all(each["externalReferences"][0]["hashes"] for each in bill["components"])
    groups = PROJECT["dependency-groups"]
    assert names(PROJECT["project"]["dependencies"]) <= versions.keys()
    assert versions.keys() & names(groups["dev"] + groups["embedded"]) <= NEEDED_BY_LITESTAR
