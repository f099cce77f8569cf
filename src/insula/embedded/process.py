"""A server that belongs to one folder: at most one runs in it, and none outlives its starter."""

import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, Self

from insula.core.mendable import Mendable
from insula.embedded.lock import FolderLock

LAUNCH: Final = Path(__file__).with_name("launch.py")
PASSED_ON: Final = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
"""What reaches a server of our environment: the rest may be secret, or meant for another one."""

START_SECONDS: Final = 120
STOP_SECONDS: Final = 5
KILL_SECONDS: Final = 10
LOG_LIMIT: Final = 10_000_000
_IN_USE: Final = os.strerror(errno.EADDRINUSE)


class EmbeddedServerError(Mendable):
    """An embedded server did not do its work: what failed, what its log says, how to mend it."""


class FolderServer(ABC):
    """A server whose whole life is one folder.

    Two locks say who does what there. `owner.lock` is held by the process that started the server, until it
    stops it or dies. `server.lock` is inherited by every process of the server, so that it is free when the
    last of them is gone, orphans included.
    """

    name: ClassVar[str]
    stop_signals: ClassVar[Sequence[signal.Signals]]
    """From the cleanest on; after the last one comes SIGKILL."""

    def __init__(self, folder: Path, port: int, settings: Mapping[str, str]) -> None:
        self.folder = folder.resolve()  # as the kernel names it to lock.py
        self.port = 0
        self._wanted_port = port
        self._settings = dict(settings)
        self._owner = FolderLock(self.folder / "owner.lock")
        self._lock = FolderLock(self.folder / "server.lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0
        """How long the log was before this start."""

    def start(self) -> None:
        """Start the server, or reuse the one that another process runs in this folder."""
        if self._process is not None:
            if self._process.poll() is None and self._answers():
                return
            self._end(self._process)  # Reaps it, too: a zombie would look alive to the next server.
            self._process = None
        if threading.current_thread() is not threading.main_thread():
            raise self._error(
                "it is started from a thread", "Start it from the main thread: it stops with its starter."
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._own_or_reuse():
            return
        try:
            self._clear()
            self._rotate_log()
            self._prepare()
            self._serve()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server if this object started it; a reused one is left to its owner."""
        if self._process is not None:
            self._end(self._process)
            self._process = None
        self._lock.release()
        self._owner.release()

    @property
    def died(self) -> bool:
        """Whether the server that this object started has ended without being asked to; ``start`` begins anew."""
        return self._process is not None and self._process.poll() is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        """What the server has said."""
        return self.folder / f"{self.name}.log"

    @property
    def data(self) -> Path:
        """Where the server keeps its own files; ours lie beside it."""
        return self.folder / "data"

    @abstractmethod
    def _prepare(self) -> None:
        """Bring the folder to where the server can start; nothing runs in it now."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """What to execute, for `self.port`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server of this folder takes requests on `self.port`."""

    def _identity(self) -> str:
        """Whom the server runs as; see launch.py."""
        return "self"

    def _own_or_reuse(self) -> bool:
        """True: the folder is ours. False: its owner's server answers, and we use that."""
        deadline = time.monotonic() + START_SECONDS
        while not (self._owner.locked or self._owner.acquire()):
            self.port = self._kept_port()
            if self.port and self._answers():
                return False
            if time.monotonic() > deadline:
                holder = (self.folder / "owner.lock").read_text()
                raise self._error(
                    "another process owns its folder and its server does not answer", f"End process {holder}."
                )
            time.sleep(0.05)
        return True

    def _clear(self) -> None:
        """See that nothing of an earlier server runs: its owner is gone, so it is stopping or orphaned."""
        deadline = time.monotonic() + KILL_SECONDS
        while not self._lock.acquire():
            overdue = time.monotonic() > deadline
            self._lock.signal_holders(signal.SIGKILL if overdue else self.stop_signals[0])
            if time.monotonic() > deadline + KILL_SECONDS:
                raise self._error(
                    "an earlier server is still running", f"End the processes that hold {self._lock.path}."
                )
            time.sleep(0.1)

    def _serve(self) -> None:
        for attempt in range(3):
            self.port = self._wanted_port or self._free_port(again=attempt > 0)
            (self.folder / "port").write_text(str(self.port))
            process = self._process = self.spawn(self._command())
            if self._wait(process):
                self._lock.release()  # The server's own copy of the lock stays.
                return
            self._process = None
            if self._wanted_port or not self._found_its_port_taken():
                break
            # Somebody took the port between our choice and the server's bind: choose again.
        raise self._error(
            f"it stopped while starting on port {self.port}",
            "If the port is taken, choose another. If the data is damaged, or another version's,"
            f" put a backup in its place, or start anew by removing {self.folder}.",
        )

    def spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """Run a program of the server, detached from our terminal and session, but not from our life."""
        stop = str(int(self.stop_signals[0]))
        starter = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), stop, self._identity()]
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a command of our own, no shell
                [*starter, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                start_new_session=True,
                pass_fds=(self._lock.fileno(),),
            )

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the first answer; False when the server ended instead."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(0.01)
        raise self._error(f"it did not answer within {START_SECONDS} s", "The machine may be too busy; try again.")

    def _found_its_port_taken(self) -> bool:
        """Now, or at that moment: who only looks whether a port is free has it for as long."""
        return not is_free(self.port) or _IN_USE in self._said()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for number in self.stop_signals:
            process.send_signal(number)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return
        process.kill()
        process.wait()

    def _free_port(self, *, again: bool) -> int:
        kept = self._kept_port()
        return kept if kept and not again and is_free(kept) else free_port()

    def _kept_port(self) -> int:
        try:
            return int((self.folder / "port").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._said_before = self.log.stat().st_size if self.log.exists() else 0

    def _error(self, what: str, mend: str) -> EmbeddedServerError:
        said = "".join(f"\n    {line}" for line in self._said().split("\n")[-9:] if line)
        return EmbeddedServerError(f"The embedded {self.name} in {self.folder}: {what}.{said}\n{mend}")

    def _said(self) -> str:
        """Its log since this start."""
        return self.log.read_bytes()[self._said_before :].decode(errors="replace") if self.log.exists() else ""


def kept_secret(path: Path) -> str:
    """The password in ``path``, made on first use, readable by its owner only."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
        fresh.rename(path)
    return path.read_text()


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
