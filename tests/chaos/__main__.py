"""Chaos by itself, for as long as you like."""

import argparse
import asyncio
import sys

from tests.chaos.contenders import SaqAlone
from tests.chaos.program import Program
from tests.chaos.run import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=600, help="how long to kill; the end takes up to 60 s more")
    parser.add_argument("--control", action="store_true", help="SAQ alone with its defaults: has to fail")
    options = parser.parse_args()
    if options.control:
        chaos = run(SaqAlone(), kills=options.kills, seconds=options.seconds, victims=("worker", "redis"))
    else:
        chaos = run(Program(), kills=options.kills, seconds=options.seconds)
    report = asyncio.run(chaos)
    print(report)
    sys.exit("; ".join(report.broken()) or None)


if __name__ == "__main__":
    main()
