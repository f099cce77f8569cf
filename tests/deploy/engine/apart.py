"""A place of its own for an engine: network, mounts and processes, all of which end with whoever lives in it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.k8s.serving import child

TAP: Final = "tap0"
ADDRESS: Final = "10.0.2.100"
"""Of this place, as slirp4netns gives it."""

_GROUPS: Final = Path("/sys/fs/cgroup")
_OPTIONAL: Final = Path("/opt/containerd")
_WAIT_SECONDS: Final = 20


def live(module: str, folder: Path, arguments: Sequence[str]) -> int:
    """Run a module in there, in which nothing is heard but itself and what it asks of the world through slirp4netns."""
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    before = _OPTIONAL.exists()
    within = subprocess.Popen([*apart, sys.executable, "-m", module, "--within", str(folder), *arguments])
    try:
        with world(_started(within)):
            return within.wait()
    finally:
        within.kill()
        within.wait()
        for group in (*_GROUPS.glob(f"*/{folder.name}"), *_GROUPS.glob(folder.name)):
            _forget(group)
        if not before:
            _forget(_OPTIONAL)


@contextmanager
def world(process: int) -> Iterator[None]:
    """Registries of packages are reached, and this machine's own loopback is not."""
    way = ["slirp4netns", "--configure", "--mtu=1500", "--disable-host-loopback", str(process), TAP]
    with subprocess.Popen(way, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as slirp:
        try:
            yield
        finally:
            slirp.kill()


def settle(folder: Path) -> None:
    """What the engine would leave in this machine's folders goes to one that ends; names of ours are known."""
    names = Path("/etc/resolv.conf").read_text()
    real = Path("/etc/resolv.conf").resolve()
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    if not real.exists():
        real.parent.mkdir(parents=True)
        real.write_text(names)
    _see_own_network(folder / "cgroup")
    hosts = folder / "hosts"
    shutil.copy("/etc/hosts", hosts)
    _run("mount", "--bind", str(hosts), "/etc/hosts")
    _run("ip", "link", "set", "lo", "up")
    late = time.monotonic() + _WAIT_SECONDS
    while not Path(f"/proc/sys/net/ipv4/conf/{TAP}").exists():
        assert time.monotonic() < late, "slirp4netns made no way out"
        time.sleep(0.1)


def _see_own_network(kept: Path) -> None:
    """/sys tells of the network in which it was mounted; the control groups in it are mounts of their own."""
    kept.mkdir()
    _run("mount", "--rbind", "/sys/fs/cgroup", str(kept))
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("mount", "--rbind", str(kept), "/sys/fs/cgroup")


def know(name: str) -> None:
    """This name is here."""
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 {name}\n")


def _started(within: "subprocess.Popen[bytes]") -> int:
    late = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < late and within.poll() is None:
        try:
            return child(within.pid)
        except ValueError:  # unshare has not forked yet
            time.sleep(0.05)
    raise RuntimeError("unshare started nothing")


def _forget(left: Path) -> None:
    """Folders of the engine's that are the machine's, empty as soon as the last process has ended."""
    late = time.monotonic() + _WAIT_SECONDS
    while left.exists() and time.monotonic() < late:
        for folder, _, _ in os.walk(left, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.1)
    if left.exists():
        print(f"left behind: {left}", file=sys.stderr)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def stop(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Asked first, killed then."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
