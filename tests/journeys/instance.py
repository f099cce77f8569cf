"""An `insula up` of a test's own, as somebody at a terminal has it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from insula.seed import PASSWORD as DEMO_PASSWORD
from tests.canaries import WATCH

ROOT = Path(__file__).parents[2]
START_SECONDS = 90


class Instance:
    """One `insula up` in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("INSULA_", "COV_", "PYTEST_"))
            },
            "INSULA_HOME": str(home),
            "INSULA_LOG_LEVEL": "info",
            "INSULA_LIMIT_TEAMS": "77",
            "INSULA_SMTP_PORT": "2525",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._log = home.parent / "up.log"
        WATCH.said_in(self._log)
        WATCH.shown(DEMO_PASSWORD)

    def start(self, *options: str) -> dict[str, str]:
        """Start and wait until it prints itself as an environment; returns that."""
        self.begin(*options)
        return self.wait()

    def begin(self, *options: str) -> None:
        with self._log.open("ab") as log:
            self._began = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "insula", "up", "--port", "0", *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait(self) -> dict[str, str]:
        self.until("Insula is up.")
        found = self.run("env")
        assert found.returncode == 0, found.stderr
        return dict(line.split("=", 1) for line in found.stdout.splitlines())

    def until(self, words: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has said this since it was begun."""
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while words not in " ".join(self._log.read_bytes()[self._began :].decode(errors="replace").split()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.01)  # what it says can only be looked at; to be told of files would take another program

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "insula", *command], env=self.environment, capture_output=True, text=True
        )

    def said(self) -> str:
        return self._log.read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Signal it as Ctrl-C does and wait; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        """Kill it alone, and wait up to 15 s for what it started to notice."""
        self.end()
        gone_by = time.monotonic() + 15
        while self.left_running() and time.monotonic() < gone_by:
            time.sleep(0.2)

    def end(self) -> None:
        """Whatever became of it, it is over now."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def left_running(self) -> list[str]:
        """Processes that still work in this folder."""
        home, found = str(self.home), psutil.process_iter(["cmdline", "cwd"])
        commands = [(" ".join(process.info["cmdline"] or []), process.info["cwd"] or "") for process in found]
        return [command for command, folder in commands if home in command or folder.startswith(home)]
