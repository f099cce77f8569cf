"""A lock on a folder, which the processes of a server inherit."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class FolderLock:
    """A lock on a file that the kernel lets go when the last process that has it open ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    @property
    def locked(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self, patience: float = 0.0) -> bool:
        """Take the lock if it is free, or becomes so within ``patience`` seconds."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience
        while not _locks(file):
            if time.monotonic() >= deadline:
                os.close(file)
                return False
            time.sleep(0.02)
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file
        return True

    def release(self) -> None:
        """Let go by closing: LOCK_UN would unlock it for the processes that have inherited it, too."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def fileno(self) -> int:
        """The descriptor to pass on."""
        if self._file is None:
            raise ValueError("the lock is not held")
        return self._file

    def signal_holders(self, number: signal.Signals) -> None:
        """Send a signal to every other process that has the lock's file open."""
        for pid in self._holders() - {os.getpid()}:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _holders(self) -> set[int]:
        """The processes that have the lock's file open."""
        if sys.platform != "linux":
            lsof = ["/usr/sbin/lsof", "-t", self.path]
            found = subprocess.run(lsof, capture_output=True, check=False)  # noqa: S603  # fixed words
            return {int(pid) for pid in found.stdout.split()}
        pids = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if any(file.readlink() == self.path for file in (process / "fd").iterdir()):
                    pids.add(int(process.name))
            except OSError:  # Ended meanwhile, or somebody else's.
                continue
        return pids


def _locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
