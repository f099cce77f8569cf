"""A PgBouncer of the run's own, in transaction mode, from deploy/pgbouncer.ini."""

import os
import re
import socket
import subprocess
import time
from configparser import ConfigParser
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from tests.conftest import PASSWORDS

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "pgbouncer.ini"
_PREPARES_SINCE: Final = (1, 21)


class PgBouncer:
    """Few connections to the server for each login, however many clients there are; the rest is as we deploy it."""

    def __init__(self, folder: Path, admin: str, *, pool: int = 1, **settings: str) -> None:
        server = urlsplit(admin)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self._folder = folder
        lines = ConfigParser(interpolation=None)
        lines.read(CONFIGURATION)
        lines["databases"] = {"*": f"host={server.hostname} port={server.port}"}
        lines["pgbouncer"].update(
            listen_port=str(self._port),
            auth_file=f"{folder}/users",
            logfile=f"{folder}/log",
            pidfile="",
            default_pool_size=str(pool),
            reserve_pool_size="0",
            server_tls_sslmode="prefer",
        )
        lines["pgbouncer"].update(settings)
        lines.remove_option("pgbouncer", "server_tls_ca_file")
        if self.old:
            lines.remove_option("pgbouncer", "max_prepared_statements")
        with (folder / "ini").open("w") as file:
            lines.write(file)
        (folder / "users").write_text("".join(f'"{login}" "{word}"\n' for login, word in PASSWORDS.items()))

    @cached_property
    def old(self) -> bool:
        """Whether it cannot keep prepared statements, which the program has to be told."""
        said = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout
        major, minor = re.findall(r"\d+", said)[:2]
        return (int(major), int(minor)) < _PREPARES_SINCE

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

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL; entering it again starts it on the same port."""
        self._process.kill()
        self._process.wait()
