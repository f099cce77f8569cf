"""Each benchmark still runs, in its smallest size; how fast anything is, nobody asks here."""

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

pytestmark = pytest.mark.peers

PARTS = (
    "Page of 20 projects, whole stack",
    "Create with event, job and stored answer",
    "row security costs",
    "The door",
    "Unrelated GETs during a storm of sign-ins",
    "insula up, second start",
)


def test_every_benchmark_runs() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--scale", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert [part for part in PARTS if part not in run.stdout] == [], run.stdout
