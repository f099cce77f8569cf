"""The wrapper `insula`: it finds its folder from anywhere, and says what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose environment is ready: its Python prints what it is asked to run, and where."""
    folder = tmp_path / "a project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("insula", "requirements.lock"):
        shutil.copy(PROJECT / name, folder)
    python = folder / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s|" "$PWD" "$PYTHONPATH" "$@"\n')
    python.chmod(0o755)
    mark_ready(folder)
    return folder


def test_it_runs_the_program_from_any_folder_and_through_links(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project / "insula")
    (tmp_path / "link to link").symlink_to("link")

    for script in (project / "insula", tmp_path / "link", tmp_path / "link to link"):
        done = insula(script, "up", "--port", "two words", cwd=tmp_path)
        assert done.stdout == f"{tmp_path}|{project}/src|-P|-m|insula|up|--port|two words|"
        assert done.stderr == ""


@pytest.mark.parametrize("home", ["state", "../state", "/var/lib/my state"])
def test_its_state_lies_in_the_checkout_unless_another_folder_is_named(
    project: Path, tmp_path: Path, home: str
) -> None:
    python = project / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s" "$INSULA_HOME"\n')
    (tmp_path / "link").symlink_to(project / "insula")
    for script in (project / "insula", tmp_path / "link"):
        assert insula(script, "env", cwd=tmp_path).stdout == f"{project}/.insula"
        assert insula(script, "env", cwd=tmp_path, INSULA_HOME="").stdout == f"{project}/.insula"
        assert insula(script, "env", cwd=tmp_path, INSULA_HOME=home).stdout == home


def test_it_runs_the_tests_in_the_projects_folder(project: Path, tmp_path: Path) -> None:
    assert insula(project / "insula", "test", "-k", "a b", cwd=tmp_path).stdout == (
        f"{project}|{project}/src|-m|pytest|-k|a b|"
    )


def test_it_runs_the_environments_python_and_keeps_the_callers_path(project: Path, tmp_path: Path) -> None:
    done = insula(project / "insula", "python", "-c", "pass", cwd=tmp_path, PYTHONPATH="/mine")

    assert done.stdout == f"{tmp_path}|{project}/src:/mine|-c|pass|"


def test_without_a_python_it_says_what_to_install(project: Path) -> None:
    (project / ".venv" / ".insula-lock").unlink()
    tools = project / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "readlink", "cksum"):
        (tools / name).symlink_to(str(shutil.which(name)))

    done = insula(project / "insula", "up", cwd=project, PATH=str(tools))

    assert done.returncode == 1
    assert "needs Python 3.11, 3.12, 3.13 or 3.14" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr


def test_without_the_venv_module_it_names_the_package(project: Path) -> None:
    (project / ".venv" / ".insula-lock").unlink()
    python = project / "python"
    without = 'import sys; sys.modules["ensurepip"] = None; exec(sys.argv[2])'
    python.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{without}' \"$@\"\n")
    python.chmod(0o755)

    done = insula(project / "insula", "up", cwd=project, INSULA_PYTHON=str(python))

    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("import sysconfig; sysconfig.get_config_var = lambda _: 'x86_64-alpine-linux-musl'", "musl, as in Alpine"),
        ("import platform; sys.platform = 'darwin'; platform.machine = lambda: 'x86_64'", "Macs with Intel processors"),
    ],
)
def test_where_not_all_packages_come_it_says_so_before_it_fetches_any(project: Path, kind: str, told: str) -> None:
    (project / ".venv" / ".insula-lock").unlink()
    python = project / "python"
    python.write_text(f'#!/bin/sh\nexec \'{sys.executable}\' -c "import sys; {kind}; exec(sys.argv[2])" "$@"\n')
    python.chmod(0o755)

    done = insula(project / "insula", "up", cwd=project, INSULA_PYTHON=str(python))

    assert done.returncode == 1
    assert f"do not come for {told}" in done.stderr


@pytest.mark.parametrize("change", ["the lock", "the mark", "an unfinished run"])
def test_an_environment_of_another_lock_is_not_used(project: Path, change: str) -> None:
    mark = project / ".venv" / ".insula-lock"
    if change == "the lock":
        with (project / "requirements.lock").open("a") as lock:
            lock.write("# changed\n")
    elif change == "the mark":
        mark.unlink()
    else:
        mark.rename(mark.with_name(".insula-preparing"))

    done = insula(project / "insula", "up", cwd=project, INSULA_PYTHON="/nowhere/python")

    assert done.returncode == 1
    assert "looked for: /nowhere/python" in done.stderr


def mark_ready(folder: Path) -> None:
    """Write what the wrapper writes when it has finished."""
    with (folder / "requirements.lock").open() as lock:
        checksum = subprocess.run(["cksum"], stdin=lock, capture_output=True, text=True, check=True).stdout.strip()
    (folder / ".venv" / ".insula-lock").write_text(f"{checksum} 3.11\n")


def insula(script: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
