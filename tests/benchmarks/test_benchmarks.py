"""Each benchmark still runs, in its smallest size; how fast anything is, nobody asks here."""

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT
from tests.benchmarks.peers.measure import Pair, Sample, report

PARTS = (
    "Page of 20 projects, whole stack",
    "Create with event, job and stored answer",
    "Where the time of a page goes",
    "row security costs",
    "The door",
    "Unrelated GETs during a storm of sign-ins",
    "insula up, second start",
)


@pytest.mark.peers
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


def test_where_a_few_requests_took_no_cpu_that_is_counted_nothing_is_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    none, some = Sample(900.0, 0.0, 0.0), Sample(300.0, 400.0, 100.0)
    assert report("One project", {"a peer": [Pair(none, some)]}, {"a peer": 9.0})
    assert "nothing to compare" in capsys.readouterr().out
    assert not report("One project", {"a peer": [Pair(some, some)]}, {"a peer": 9.0})
    assert "1.00x   1.00x   1.00x  goal 9.0x MISSED" in capsys.readouterr().out
