"""A machine of its own is booted, and deploy/README.md followed on it to the letter: systemd, HAProxy, Prometheus, backups.

`./insula python -m tests.deploy.machine`, as root, with debootstrap, systemd-container and slirp4netns; `--base FOLDER` takes
what debootstrap made before, instead of a new one. What is committed is what is installed. It ends with 75 (EX_TEMPFAIL of
sysexits.h), and says NOT RUN, where no machine can be booted.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.deploy.machine import installation, life, upkeep
from tests.deploy.machine.debian import Machine, NoMachine, install

ROOT: Final = Path(__file__).parents[3]
CHAPTERS: Final = (
    installation.settings,
    installation.servers,
    installation.processes,
    installation.front,
    installation.works,
    life.kills,
    life.stops,
    life.releases,
    installation.prometheus,
    life.unrefused,
    life.reboots,
    upkeep.queues,
    upkeep.own_redis,
    upkeep.backups,
    upkeep.slow_statements,
    life.unrefused,
)


def main() -> None:
    """The first thing that is wrong ends it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--base", type=Path)
    base = arguments.parse_args().base
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and power off on the way
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder) / "machine")
        try:
            install(machine.root, base)
            took = machine.boot()
        except NoMachine as reason:
            print(f"NOT RUN: {reason}", file=sys.stderr)
            sys.exit(os.EX_TEMPFAIL)
        with machine.running():
            installation.seen(f"Debian 12 with nothing on it is booted, in {took:.0f} s.")
            copy = machine.root / installation.COPY.removeprefix("/")
            subprocess.run(["git", "clone", "-q", "--bare", ROOT, copy], check=True)
            installation.program(machine, Path(folder))
            for chapter in CHAPTERS:
                chapter(machine)
    installation.seen("All of it was so.")


if __name__ == "__main__":
    main()
