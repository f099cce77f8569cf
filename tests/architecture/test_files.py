"""What lies in the project's folder: nothing unexpected, and nothing that is true on one machine only."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

TOP = {
    "src",
    "migrations",
    "tests",
    "deploy",
    "k8s",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "insula",
    "pyproject.toml",
    "requirements.lock",
}
"""Besides these only files and folders that begin with a dot. A folder's README is its documentation."""

HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|deb\.debian\.org|crates\.io|golang\.org|rubygems\.org"
    r"|maven\.apache\.org|githubusercontent\.com|/releases/[d]ownload/|https?://[^\s\"'<>]+\.(whl|tar\.gz|tgz|zip|deb)\b"
)
MACHINE = re.compile(r"(?<![\w.}~])/([w]ork/|[r]oot/|home/\w+/|Users/\w+/|[o]pt/(wheels|pypi))")

READMES = [ROOT / "README.md", *(path for top in sorted(TOP) for path in sorted((ROOT / top).rglob("README.md")))]


def committed() -> list[Path]:
    """The files of the project, as git knows them; of an unpacked archive, all but what begins with a dot."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    folders = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    return [path for folder in folders for path in (folder, *folder.rglob("*")) if path.is_file()]


def lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in committed()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_top_folder_holds_what_it_should() -> None:
    names = {path.relative_to(ROOT).parts[0] for path in committed()}
    assert {name for name in names if not name.startswith(".")} <= TOP


def test_no_file_names_a_package_registry_or_a_download() -> None:
    """Whoever installs this decides where packages come from."""
    assert lines(HOSTS) == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert lines(MACHINE) == []


@pytest.mark.parametrize(
    ("pattern", "planted"),
    [
        (HOSTS, "index-url = https://pypi~.org/simple"),
        (HOSTS, "curl https://example.com/tool.tar~.gz"),
        (MACHINE, "cd /home~/ada/insula"),
        (MACHINE, "cat </work~/notes"),
    ],
)
def test_the_search_finds_what_was_planted(pattern: re.Pattern[str], planted: str) -> None:
    assert not pattern.search(planted)
    assert pattern.search(planted.replace("~", ""))


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_readme_leads_somewhere(readme: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", readme.read_text(encoding="utf-8"))
    assert [link for link in links if not (readme.parent / link).exists()] == []


def test_the_tests_readme_names_every_folder_of_tests() -> None:
    named = set(re.findall(r"\[(\w+)\]\(\w+\)", (ROOT / "tests" / "README.md").read_text(encoding="utf-8")))
    assert named == {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "_."}


@pytest.mark.parametrize("folder", ["src/insula", "src/insula/core"])
def test_the_readme_of_the_program_names_every_module(folder: str) -> None:
    """Of the folders below it, those that have no README of their own."""
    place = ROOT / folder
    named = set(re.findall(r"\]\(([\w/]+\.py)\)", (place / "README.md").read_text(encoding="utf-8")))
    modules = {*place.glob("*.py"), *(place / "http").glob("*.py")}
    assert {str(path.relative_to(place)) for path in modules if path.name != "__init__.py"} - named == set()


def test_the_license_is_the_unmodified_apache_license() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.split()[:6] == ["Apache", "License", "Version", "2.0,", "January", "2004"]
    assert len(text.split()) == 1581
