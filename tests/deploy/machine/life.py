"""What the README promises of a machine that runs: kills, stops, releases, the way back and a reboot cost nothing."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from tests.deploy.machine.debian import Machine, Wrong
from tests.deploy.machine.installation import ADA, CLONE, COPY, UNITS, block, main_process, ready, seen, served

LEAST: Final = 10
"""Requests without which a block shows nothing."""


@contextmanager
def working(machine: Machine, what: str) -> Iterator[None]:
    """Somebody works through HAProxy meanwhile, and nothing of it may fail, be lost or happen twice."""
    command = f"cd /opt/insula && exec ./insula python -m tests.deploy.machine.visitor work {ADA}"
    visitor = machine.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield
    finally:
        said, _ = visitor.communicate(timeout=180)
    if visitor.returncode:
        raise Wrong(f"{what}: {said}")
    told = json.loads(said.splitlines()[-1])
    if told["asked"] < LEAST or any(told[name] for name in ("failed", "lost", "twice", "letters_twice")):
        raise Wrong(f"{what}: {json.dumps(told, indent=1)}")
    seen(
        f"{what}: {told['asked']} requests, 0 failed, the slowest in {told['slowest']} s;"
        f" {told['projects']} projects and {told['letters']} letters: 0 lost, 0 twice."
    )


def kills(machine: Machine) -> None:
    with working(machine, "Killed -9, an API process and a worker"):
        machine.sh("sleep 3")
        for unit in ("insula-api@8002", "insula-worker@01"):
            before = main_process(machine, unit)
            machine.sh(f"kill -9 {before}")
            after = partial(lambda unit, before: main_process(machine, unit) not in {before, "0"}, unit, before)
            back = machine.until(after, f"{unit} is started again") + ready(machine)
            seen(f"   {unit} was killed, and systemd had it back, ready, in {back:.1f} s.")


def stops(machine: Machine) -> None:
    drain = 25
    with working(machine, "Stopped, an API process and a worker"):
        machine.sh("sleep 3")
        for unit in ("insula-api@8003", "insula-worker@02"):
            machine.sh(f"systemctl stop {unit}", seconds=drain)
            said = machine.sh(f"systemctl show -p Result,ExecMainCode,ExecMainStatus {unit}").split()
            if set(said) != {"Result=success", "ExecMainCode=1", "ExecMainStatus=0"}:
                raise Wrong(f"{unit} ended otherwise than by SIGTERM: {said}")
            seen(f"   systemctl stop {unit}: within the {drain} s to drain, by itself, with status 0.")
        machine.sh("systemctl start insula-api@8003 insula-worker@02")
        ready(machine)


def releases(machine: Machine) -> None:
    release = block("/opt/insula-2 /opt/insula\n")
    fetched = "\n".join(line for line in block(CLONE).splitlines() if "/opt/insula-1" in line and "ln " not in line)
    fetched = fetched.replace(CLONE, COPY)
    with working(machine, "The next release"):
        machine.sh(fetched.replace("insula-1", "insula-2"), seconds=1200)
        machine.sh(release)
    runs_in(machine, "/opt/insula-2")
    back = "\n".join(line for line in release.splitlines() if "insula-migrate" not in line)
    with working(machine, "The way back"):
        machine.sh(back.replace("insula-2", "insula-1"))
    runs_in(machine, "/opt/insula-1")


def runs_in(machine: Machine, folder: str) -> None:
    """Raises Wrong where a process is of another release."""
    for unit in UNITS:
        number = main_process(machine, unit)
        place = machine.sh(f"readlink /proc/{number}/cwd").strip()
        said = machine.sh(f"tr '\\0' ' ' </proc/{number}/cmdline; tr '\\0' '\\n' </proc/{number}/environ")
        if place != folder or not re.search(rf"{folder}/\.venv/bin/python", said):
            raise Wrong(f"{unit} runs in {place}: {said}")
    seen(f"   Every process is {folder}'s.")


def unrefused(machine: Machine) -> None:
    """What the units forbid is nothing that the program asks for: since the machine was booted."""
    said = machine.sh("journalctl -u 'insula-*' -o cat --no-pager")
    if found := re.findall(r"(?m)^.*(?:not permitted|Permission denied|Read-only file).*$", said):
        raise Wrong("\n".join(found[:5]))
    seen(f"In {said.count(chr(10))} lines of the units' log nobody was refused a file or a system call.")


def reboots(machine: Machine) -> None:
    took = machine.reboot()
    served_after = machine.until(partial(served, machine), "HAProxy serves after a reboot")
    ready(machine)
    seen(f"A reboot: down and up in {took:.0f} s, {served_after:.0f} s later it serves; nobody touched it.")
    with working(machine, "After the reboot"):
        machine.sh("sleep 6")
