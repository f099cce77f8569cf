"""A Debian that is booted beside this machine: processes, files and a network of its own, and a way out to fetch packages."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil

PACKAGES: Final = "systemd,systemd-sysv,dbus,ca-certificates,curl,iproute2"
PROGRAMS: Final = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "slirp4netns": "slirp4netns"}
"""What has to be there, and the package that brings it."""
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
ENVIRONMENT: Final = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    f"HOME={Path('/') / 'root'}",
    "LANG=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
)
REBOOTS: Final = 133
"""What systemd-nspawn ends with when the machine asked to be started again."""
DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "TERM")
_BOOT_SECONDS: Final = 90
_OFF_SECONDS: Final = 90


class NoMachine(Exception):
    """None can be booted here; says why."""


class Wrong(Exception):
    """What happened in the machine is not what the README says."""


def install(root: Path, base: Path | None) -> None:
    """Debian 12 without anything, or a copy of such a folder; with what this machine knows of packages and authorities."""
    if os.geteuid():
        raise NoMachine("only root can boot one")
    if missing := [package for program, package in PROGRAMS.items() if shutil.which(program) is None]:
        raise NoMachine(f"for want of {' '.join(missing)}")
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root]
    subprocess.run(command if base is None else ["cp", "-a", base, root], check=True, stdout=subprocess.DEVNULL)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n")  # slirp4netns answers there
    (root / "etc/apt/apt.conf.d/yes").write_text('APT::Get::Assume-Yes "true";\n')
    if (pip := Path("/etc/pip.conf")).is_file():
        shutil.copy(pip, root / "etc")
    if CERTIFICATES.is_file():
        shutil.copy(CERTIFICATES, root / "usr/local/share/ca-certificates/beside.crt")  # for update-ca-certificates


class Machine:
    """One that is running; its commands run as root's, in root's home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._log = root.with_suffix(".log")
        self._groups = control_groups(f"insula-{os.getpid()}")
        self._leader = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """What was booted is powered off at the end."""
        try:
            yield
        finally:
            self.power_off()

    def boot(self) -> float:
        """Returns how many seconds it took until everything that is enabled was started. Raises NoMachine."""
        began = time.monotonic()
        command = (*DIES_WITH_US, "systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network")
        self._make_groups()
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [*command, "--resolv-conf=off", "-D", self.root, "-b"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._enter_groups,
            )
        try:
            self._wait_for_systemd()
        except BaseException:
            self.power_off()
            raise
        network = (*DIES_WITH_US, "slirp4netns", "--configure", "--disable-host-loopback", self._leader, "tap0")
        self._network = subprocess.Popen(network, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - began

    def _make_groups(self) -> None:
        try:
            for group in self._groups:
                group.mkdir(exist_ok=True)
        except OSError as error:
            raise NoMachine(f"it would have no control group of its own: {error}") from error

    def _enter_groups(self) -> None:
        for group in self._groups:
            (group / "cgroup.procs").write_text("0")

    def _wait_for_systemd(self) -> None:
        by = time.monotonic() + _BOOT_SECONDS
        state = ""
        while state not in {"running", "degraded"}:
            if time.monotonic() > by or self._nspawn.poll() is not None:
                raise NoMachine(f"systemd is {state or 'not there'}:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
            if children := psutil.Process(self._nspawn.pid).children():
                self._leader = str(children[0].pid)
                with suppress(Wrong):  # there is not much of it yet
                    state = self.ask("systemctl is-system-running").strip()
        if state == "degraded":
            raise Wrong(self.ask("systemctl --failed --no-pager"))

    def sh(self, commands: str, *, seconds: float = 600) -> str:
        """What they said. Raises Wrong where one of them failed."""
        # No pipe: what stays in the background would hold it open.
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            status = self.start(commands, stdout=said).wait(seconds)
            said.seek(0)
            text = said.read()
        if status:
            raise Wrong(f"{commands}\n-> {status}\n{text[-6000:]}")
        return text

    def ask(self, command: str) -> str:
        """What it says, however it ends."""
        return self.sh(f"{command} || true", seconds=60)

    def start(self, commands: str, **files: Any) -> "subprocess.Popen[str]":
        """Run them beside everything else."""
        enter = ("nsenter", "-t", self._leader, "-m", "-u", "-i", "-n", "-p", "-C", "env", "-i", *ENVIRONMENT)
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT} | files
        return subprocess.Popen([*enter, "sh", "-ec", f"cd\n{commands}"], text=True, **given)

    def until(self, happened: Callable[[], object], what: str, *, seconds: float = 60) -> float:
        """Wait for it; returns how long that took. Raises Wrong."""
        began = time.monotonic()
        while not happened():
            if time.monotonic() - began > seconds:
                raise Wrong(f"{what}: not within {seconds} s\n{self.ask('journalctl -o cat -n 60 --no-pager')}")
            time.sleep(0.2)
        return time.monotonic() - began

    def reboot(self) -> float:
        """As root reboots it. Returns how long it took until everything was started again."""
        began = time.monotonic()
        self.sh("systemctl reboot")
        if (ended := self._nspawn.wait(_OFF_SECONDS)) != REBOOTS:
            raise Wrong(f"it did not reboot: {ended}")
        self._end_network()
        self.boot()
        return time.monotonic() - began

    def power_off(self) -> None:
        """As its button does; the hard way where it does not go."""
        family = [self._nspawn.pid, *(child.pid for child in _children(self._nspawn.pid))]
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(_OFF_SECONDS)
        except subprocess.TimeoutExpired:
            for number in reversed(family):
                os.kill(number, signal.SIGKILL)
            self._nspawn.wait()
        self._end_network()
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with suppress(OSError):  # of one that ended the hard way something may be left for a moment
                    Path(folder).rmdir()

    def _end_network(self) -> None:
        if network := getattr(self, "_network", None):
            network.terminate()
            network.wait()


def control_groups(name: str) -> list[Path]:
    """One of its own in each tree that systemd keeps: two machines in the same would end each other's processes."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [
        Path(place) / name for _, place, kind, options, *_ in mounts if kind == "cgroup2" or "name=systemd" in options
    ]


def _children(number: int) -> list[psutil.Process]:
    try:
        return psutil.Process(number).children()
    except psutil.NoSuchProcess:
        return []
