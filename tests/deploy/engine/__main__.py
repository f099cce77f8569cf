"""Runs deploy/compose as deploy/README.md says, with a Docker engine of its own, and leaves nothing behind.

`./insula python -m tests.deploy.engine`; `--roots FOLDER` keeps what is fetched from Debian for the next time. What stands
in for the images of others is in images.Dockerfile; the public certificate authority and the mail server are this machine.
It ends with 75 (EX_TEMPFAIL of sysexits.h), and says NOT RUN, where something for it is missing.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import Final

from tests.authority import Authority
from tests.deploy.engine import apart, image, lifetime, sight, standins
from tests.deploy.engine.daemon import Engine
from tests.deploy.engine.installation import DOMAIN, Installation
from tests.deploy.engine.letters import Letters
from tests.deploy.engine.people import Person

_BEGAN: Final = time.monotonic()
_NEEDED: Final = ("debootstrap", "slirp4netns", "iptables", "runc", "ip", "unshare", "setpriv")


def main() -> None:
    """Fetch, go apart, look; the first thing that is wrong ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roots", type=Path)
    parser.add_argument("--within", type=Path)
    given = parser.parse_args()
    if given.within:
        prove(given.within, given.roots)
        return
    if missing := [name for name in _NEEDED if not shutil.which(name)] or ["root"] * (os.getuid() != 0):
        print(f"NOT RUN, for want of {', '.join(missing)}", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to stop"))
    with tempfile.TemporaryDirectory(prefix="insula-engine-") as folder:
        roots = given.roots or Path(folder) / "roots"
        roots.mkdir(parents=True, exist_ok=True)
        standins.fetch(roots)
        Path(folder).chmod(0o755)
        status = apart.live("tests.deploy.engine", Path(folder), ["--roots", str(roots.resolve())])
    raise SystemExit(status)


def prove(folder: Path, roots: Path) -> None:
    """All of it, in an engine's own place."""
    apart.settle(folder)
    apart.know(DOMAIN)
    authority = Authority(folder)
    letters = Letters(authority)
    letters.open()
    with Engine(folder, roots) as engine:
        seen(f"an engine: {engine.docker('version', '--format={{.Server.Version}}')}")
        standins.make(engine, roots, folder)
        seen("Debian's programs under the names of the images of others")
        installation = Installation(engine, folder)
        for line in image.looked_at(installation):
            seen(line)
        for line in lifetime.started(installation, authority):
            seen(line)
        person = Person(installation.trust(), letters)
        person.arrive()
        person.make()
        seen("signed up through Caddy, mailed over TLS, verified, signed in; an organization and a project made")
        for line in chain(
            image.probed(installation), sight.looked_at(installation), lifetime.lived(installation, person)
        ):
            seen(line)


def seen(line: str) -> None:
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {line}", flush=True)


if __name__ == "__main__":
    main()
