"""The import contracts of pyproject.toml hold, and each notices an import that breaks it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

PLANTED = {
    "Entrypoints over features over core": [
        ("core/clock.py", "import insula.features.projects.models"),
        ("features/projects/service.py", "import insula.settings"),
        ("settings.py", "import insula.app"),
        ("features/projects/service.py", "import insula.embedded.lock"),
        ("stray.py", "import insula.core"),
    ],
    "Features in one order": [
        ("features/teams/service.py", "import insula.features.projects.models"),
        ("features/identity/service.py", "import insula.features.organizations.schemas"),
        ("features/stray/__init__.py", ""),
    ],
    "Inside a feature: controllers and jobs, service, what else it has, repository, schemas, models": [
        ("features/projects/models.py", "import insula.features.projects.schemas"),
        ("features/teams/repository.py", "import insula.features.teams.service"),
        ("features/organizations/jobs.py", "import insula.features.organizations.controllers"),
        ("features/identity/models.py", "import insula.features.identity.throttle"),
        ("features/identity/throttle.py", "import insula.features.identity.controllers"),
        ("features/organizations/models.py", "import insula.features.organizations.slugs"),
        ("features/invitations/letters.py", "import insula.features.invitations.service"),
        ("features/invitations/repository.py", "import insula.features.invitations.letters"),
        ("features/teams/stray.py", ""),
    ],
    "Only controllers and core/http know litestar": [
        ("features/projects/service.py", "import litestar"),
        ("features/projects/models.py", "from litestar.di import Provide"),
        ("core/events.py", "import litestar.response"),
    ],
    "What serves starts without the library of migrations": [
        ("worker.py", "import alembic"),
        ("core/models.py", "import insula.core.rls"),
    ],
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on the copy of the program in this folder."""
    lint_imports = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [lint_imports, "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_every_contract_holds() -> None:
    verdict = lint(ROOT)
    assert verdict.returncode == 0, verdict.stdout


def test_every_contract_has_a_planted_violation() -> None:
    assert [contract["name"] for contract in CONTRACTS] == list(PLANTED)


@pytest.mark.parametrize(
    ("contract", "path", "line"),
    [(contract, *each) for contract, cases in PLANTED.items() for each in cases],
    ids=[f"{line or 'a new feature'} in {path}" for cases in PLANTED.values() for path, line in cases],
)
def test_the_contract_notices(contract: str, path: str, line: str, copy: Path) -> None:
    file = copy / "src" / "insula" / path
    before = file.read_text() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_text((before or "") + f"\n{line}\n")
    verdict = lint(copy)
    if before is not None:
        file.write_text(before)
    else:
        file.unlink()
    assert verdict.returncode == 1
    assert f"{contract} BROKEN" in verdict.stdout, verdict.stdout
