"""In .ci/run nothing is skipped in silence: a run with --nothing-skipped fails when something was."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, sources
from tests.skips import MAY_BE_SKIPPED

SKIPPING = {
    "call": "def test_it():\n    pytest.skip('no such program')",
    "fixture": "@pytest.fixture\ndef gone():\n    pytest.skip('no such program')\ndef test_it(gone): pass",
    "mark": "@pytest.mark.skip('no such program')\ndef test_it(): pass",
    "file": "pytest.skip('no such program', allow_module_level=True)",
    "failing": "@pytest.mark.xfail(reason='no such program')\ndef test_it(): raise OSError",
}


@pytest.mark.parametrize("workers", ["0", "1"])
def test_whatever_is_skipped_fails_the_run_and_is_named(workers: str, tmp_path: Path) -> None:
    for way, text in SKIPPING.items():
        (tmp_path / f"test_{way}.py").write_text(f"import pytest\n{text}\n")
    (tmp_path / "test_other.py").write_text("def test_it(): pass\n")
    done = run(tmp_path, "--nothing-skipped", "-n", workers)
    assert done.returncode == 1, done.stdout
    named = re.findall(r"^test_(\w+)\.py.*: .*no such program$", done.stdout, re.MULTILINE)
    assert sorted(named) == sorted(SKIPPING), done.stdout


def test_what_runs_passes_and_so_does_what_is_on_the_list(tmp_path: Path) -> None:
    for test in MAY_BE_SKIPPED:
        path, _, name = test.partition("::")
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        with (tmp_path / path).open("a") as file:
            file.write(f"import pytest\n@pytest.mark.skip('no such program')\ndef {name}(): pass\n")
    (tmp_path / "test_other.py").write_text("def test_it(): pass\n")
    assert run(tmp_path, "--nothing-skipped", "-n", "0").returncode == 0


def test_every_test_step_of_ci_forbids_it() -> None:
    steps = re.findall(r"\./insula test .*", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert len(steps) == 5
    assert all("--nothing-skipped" in step for step in steps)


def test_who_runs_tests_by_hand_reads_which_readers_ci_installs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    installed = ci.partition("install_readers() {")[2].partition("for package in ")[2].partition(";")[0].split()
    told = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    assert installed
    assert [package for package in installed if f"`{package}`" not in told] == []


@pytest.mark.parametrize("test", MAY_BE_SKIPPED)
def test_what_may_be_skipped_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")  # the node ids begin here
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.skips", "-p", "no:cacheprovider", *options],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("renderer", ["kubectl", "kustomize", None])
def test_where_nothing_renders_manifests_the_last_lines_say_that_they_were_not_read(
    renderer: str | None, tmp_path: Path
) -> None:
    programs, script = tmp_path / "bin", tmp_path / ".ci" / "run"
    programs.mkdir()
    script.parent.mkdir()
    (programs / "dirname").symlink_to(shutil.which("dirname") or "")
    if renderer:
        (programs / renderer).touch(0o755)
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    script.write_text(text.removesuffix("main\n") + 'find_renderer\necho "${unread[@]}"\nreport\n')
    bash = shutil.which("bash") or ""
    done = subprocess.run([bash, str(script)], env={"PATH": str(programs)}, capture_output=True, text=True, check=True)
    assert ("NOT READ" in done.stdout.splitlines()[-1]) is (renderer is None), done.stdout
    unread = set() if renderer else {f"--ignore={path}" for path in rendering()}
    assert set(done.stdout.splitlines()[0].split()) == unread


def rendering() -> list[str]:
    """Test files that fail where nothing renders manifests."""
    found = [
        source.path
        for source in sources("tests")
        for imported in source.all(ast.ImportFrom)
        if imported.module == "tests.k8s.rendering" and "rendered" in {name.name for name in imported.names}
    ]
    assert all(Path(path).name.startswith("test_") for path in found), found
    return found
