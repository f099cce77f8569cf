"""Each benchmark still runs, in its smallest size; how fast anything is, nobody asks here."""

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

pytestmark = pytest.mark.peers

OURS = (
    "Page of 20 projects, whole stack",
    "Create with event, job and stored answer",
    "row security costs",
    "The door",
    "Unrelated GETs during a storm of sign-ins",
    "insula up, second start",
)
PEERS = (
    "Page of 20 projects",
    "One project",
    "A project with its event, job and stored answer",
    "Who a session belongs to",
)


@pytest.mark.parametrize(
    ("command", "parts"),
    [(("tests.benchmarks", "--scale", "0"), OURS), (("tests.benchmarks.peers", "--rounds", "0"), PEERS)],
    ids=["ours", "beside the peers"],
)
def test_every_benchmark_runs(command: tuple[str, ...], parts: tuple[str, ...]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert [part for part in parts if part not in run.stdout] == [], run.stdout
