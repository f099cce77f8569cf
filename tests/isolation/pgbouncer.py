"""A PgBouncer of the run's own, in transaction mode."""

import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.conftest import PASSWORDS

CONFIGURATION = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 1
logfile = {folder}/log
pidfile =
"""


class PgBouncer:
    """One connection to the server for each login, whoever many clients there are."""

    def __init__(self, folder: Path, admin: str) -> None:
        server = urlsplit(admin)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self._folder = folder
        lines = CONFIGURATION.format(host=server.hostname, port=server.port, listen=self._port, folder=folder)
        (folder / "ini").write_text(lines)
        (folder / "users").write_text("".join(f'"{login}" "{word}"\n' for login, word in PASSWORDS.items()))

    @property
    def address(self) -> str:
        """A DSN as tests.conftest.address takes it."""
        return f"postgresql://x@127.0.0.1:{self._port}/x"

    def __enter__(self) -> Self:
        command = ["pgbouncer", "-q", str(self._folder / "ini")]
        if os.getuid() == 0:  # it refuses to run as root
            for path in (self._folder, *self._folder.parents):
                if path.stat().st_uid == 0 and not path.stat().st_mode & 0o001:
                    path.chmod(path.stat().st_mode | 0o011)
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, 65534, 65534)
            command += ["-u", "nobody"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        raise RuntimeError(f"pgbouncer does not answer: {(self._folder / 'log').read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
