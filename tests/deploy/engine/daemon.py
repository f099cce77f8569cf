"""An engine that nobody else uses, and its client."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.deploy.engine.apart import stop

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 60


class Engine:
    """dockerd in a folder; within it, `docker` and its plugins ask this one and no other."""

    def __init__(self, folder: Path, roots: Path) -> None:
        self._folder = folder
        socket = f"unix://{folder}/docker.sock"
        self.environment: Mapping[str, str] = os.environ | {
            "PATH": f"{roots}/taken/usr/bin:{roots}/taken/usr/sbin:{os.environ['PATH']}",
            "DOCKER_CONFIG": str(roots / "docker"),
            "DOCKER_HOST": socket,
            "BUILDX_BUILDER": "default",
            "PWD": str(folder),
        }
        state = [
            f"--data-root={folder}/data",
            f"--exec-root={folder}/run",
            f"--pidfile={folder}/pid",
        ]
        self._command = ["dockerd", *state, f"--host={socket}", f"--cgroup-parent=/{folder.name}", "--log-level=warn"]

    def __enter__(self) -> Self:
        with (self._folder / "dockerd.log").open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self.environment, stdout=log, stderr=log)
        late = time.monotonic() + _START_SECONDS
        while self._ask("version").returncode:
            assert time.monotonic() < late, self.said()
            assert self._process.poll() is None, self.said()
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        stop(self._process, _STOP_SECONDS)

    def said(self) -> str:
        return (self._folder / "dockerd.log").read_text()

    def docker(self, *arguments: str, folder: Path | None = None, given: bytes | None = None) -> str:
        """What it prints; to end otherwise than with 0 is a failure."""
        done = self._ask(*arguments, folder=folder, given=given)
        said = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}\n{said[-6000:]}"
        return done.stdout.decode().strip()

    def fails(self, *arguments: str, folder: Path | None = None) -> bool:
        return self._ask(*arguments, folder=folder).returncode != 0

    def inspect(self, *arguments: str) -> Any:
        (found,) = json.loads(self.docker(*arguments[:-1], "inspect", arguments[-1]))
        return found

    def shell(self, script: str, folder: Path) -> str:
        """Lines of a README, as they stand there."""
        command = ["sh", "-euc", script]
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-6000:]}"
        return done.stdout

    def start(self, arguments: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(["docker", *arguments], env=self.environment, **options)

    def _ask(
        self, *arguments: str, folder: Path | None = None, given: bytes | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        options: dict[str, Any] = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
        command = ["docker", *arguments]
        return subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, check=False, **options)
