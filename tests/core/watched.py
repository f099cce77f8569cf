"""A run of pytest over one planted test, under one of the watches that stand over ours."""

import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT


def watched_run(folder: Path, planted: str, watch: str, exits: int, *options: str) -> str:
    """What such a run said; its test passes, and the watch decides how it ends."""
    (folder / "test_planted.py").write_text(planted)
    plugins = ["-p", "tests.garbage", "-p", watch, "-p", "xdist", "-p", "no:cacheprovider", *options]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", folder, *plugins, folder],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == exits, ran.stdout
    return ran.stdout
