"""The image as `docker build` makes it, and as the engine runs it: sealed, and probed by its own HEALTHCHECK."""

import time
from collections.abc import Iterator
from typing import Final

from tests.deploy.engine.installation import PIP, Installation
from tests.k8s.serving import LOOK

_SEALED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--tmpfs=/tmp:mode=1777")
_PROBED_SECONDS: Final = 90


def looked_at(installation: Installation) -> Iterator[str]:
    """The Dockerfile's own promises, before compose has a say."""
    engine = installation.engine
    secret = [f"--secret=id=pip,src={PIP}"] if PIP.is_file() else []
    engine.docker("build", *secret, "-t", "insula", str(installation.checkout))
    size = int(engine.docker("image", "inspect", "--format={{.Size}}", "insula")) // 1_000_000
    yield f"docker build made the image ({size} MB with a Debian base)"
    engine.docker("run", "--rm", *_SEALED, "--entrypoint=python", "insula", "-c", LOOK)
    yield "it runs as 65532, with a read-only root, without a capability, and writes to /tmp alone"
    assert engine.fails("run", "--rm", *_SEALED, "insula", "api"), "it started without a setting"
    lonely = engine.docker("run", "--detach", *_SEALED, "--entrypoint=python", "insula", "-c", _ALIVE)
    began = time.monotonic()
    while (health := engine.inspect("container", lonely)["State"]["Health"]["Status"]) != "healthy":
        assert time.monotonic() - began < _PROBED_SECONDS, health
        time.sleep(1)
    engine.docker("rm", "--force", lonely)
    yield f"its HEALTHCHECK says healthy of what answers on 9464, after {time.monotonic() - began:.0f} s"


_ALIVE: Final = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Alive(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/livez" else 404)
        self.end_headers()
HTTPServer(("127.0.0.1", 9464), Alive).serve_forever()
"""
