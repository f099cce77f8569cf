"""The image as `docker build` makes it, and as the engine runs it: sealed, and probed by its own HEALTHCHECK."""

import time
from collections.abc import Iterator
from typing import Final

from tests.deploy.engine.installation import PIP, PROJECT, Installation
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


def probed(installation: Installation) -> Iterator[str]:
    """The program with what compose gives the API, and with the image's own HEALTHCHECK, in whose place compose has another."""
    engine, state = installation.engine, installation.state("api")
    given = [f"--env={each}" for each in state["Config"]["Env"]]
    given += [f"--volume={each['Source']}:{each['Destination']}:ro" for each in state["Mounts"]]
    lonely = engine.docker("run", "--detach", f"--network={PROJECT}_inside", *_SEALED, *given, "insula", "api")
    began = time.monotonic()
    while (health := engine.inspect("container", lonely)["State"]["Health"])["Status"] != "healthy":
        assert time.monotonic() - began < _PROBED_SECONDS, (health, engine.docker("logs", lonely))
        time.sleep(0.5)
    engine.docker("rm", "--force", lonely)
    yield f"the image's own HEALTHCHECK says healthy, {time.monotonic() - began:.0f} s after the start"
