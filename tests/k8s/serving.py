"""The image's files run as the manifests run them: a read-only root, 65532 without capabilities, servers elsewhere."""

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from insula.embedded.postgres import EmbeddedPostgres
from insula.embedded.process import free_port
from insula.embedded.valkey import EmbeddedValkey
from insula.settings import Settings, variables
from tests.conftest import urls_of
from tests.factories import settings_for

SEAL: Final = """
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
mount --bind /dev "$0/dev"
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"
folder=$1 user=$2 group=$3
shift 3
exec chroot "$0" env --chdir="$folder" setpriv --reuid="$user" --regid="$group" --clear-groups --no-new-privs \\
    --inh-caps=-all --bounding-set=-all -- "$@"
"""
"""buildah's isolation has no read-only root, so this makes one, in namespaces of its own for mounts and processes.

What it cannot show: the network is the machine's, there is no seccomp profile, and no engine asks the probe by itself.
"""

LOOK: Final = """
import os
said = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert {said[each].strip("\\t\\n0") for each in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}, said
assert said["NoNewPrivs"].strip() == "1", said
assert os.getuid() == os.getgid() == 65532 and set(os.getgroups()) <= {65532}
assert os.statvfs("/").f_flag & os.ST_RDONLY
for folder in ("/app", "/run", "/var/tmp", "/home"):
    assert not os.access(folder, os.W_OK), folder
assert os.access("/tmp", os.W_OK)
"""

_IN_USE: Final = os.strerror(errno.EADDRINUSE)
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 40


class Sealed:
    """Runs programs in the folder of an image, as its configuration says."""

    def __init__(self, root: str, configuration: Mapping[str, Any], settings: Settings, log: Path) -> None:
        self._root, self._log = root, log
        self._image = {"entrypoint": configuration["Entrypoint"], "probe": configuration["Healthcheck"]["Test"]}
        self._place = [configuration["WorkingDir"], *configuration["User"].split(":")]
        own = dict(line.split("=", 1) for line in configuration["Env"])
        # Loopback in place of the image's 0.0.0.0: the network is the machine's.
        self._environment = own | variables(settings)
        self.choose_ports()

    def choose_ports(self) -> None:
        """Two that nobody has at this moment, for what is started next."""
        self.port, metrics = free_port(), free_port()
        self._environment |= {"INSULA_PORT": str(self.port), "INSULA_METRICS_PORT": str(metrics)}

    def command(self, name: str) -> "subprocess.Popen[bytes]":
        """One of the program's commands."""
        return self._start([*self._image["entrypoint"], name])

    def probe(self) -> int:
        """What the image's HEALTHCHECK ends with."""
        kind, *command = self._image["probe"]
        assert kind == "CMD", kind
        return self._start(command).wait(_STOP_SECONDS)

    def look(self) -> int:
        """Whether it is sealed at all."""
        return self._start(["python", "-c", LOOK]).wait(_STOP_SECONDS)

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def _start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        unshare = shutil.which("unshare") or "unshare"
        # Whatever ends unshare ends all that is in there.
        arguments = [
            unshare,
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-euc",
            SEAL,
            self._root,
            *self._place,
            *command,
        ]
        with self._log.open("ab") as log:
            return subprocess.Popen(arguments, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def serve(root: str, configuration: Mapping[str, Any], folder: Path) -> None:
    """Provision, migrate and serve, asked by a client and by the image's own probe."""
    folder.chmod(0o711)  # where PostgreSQL runs as nobody, it must be able to enter
    with EmbeddedPostgres(folder / "postgres") as postgres, EmbeddedValkey(folder / "valkey") as valkey:
        settings = settings_for(
            **urls_of(postgres.dsn(), "insula"),
            admin_database_url=postgres.dsn(),
            redis_url=valkey.url,
            environment="production",
            base_url="https://app.example.com",
            smtp_tls="starttls",
        )
        sealed = Sealed(root, configuration, settings, folder / "log")
        assert sealed.look() == 0, sealed.said()
        for name in ("provision", "migrate"):
            assert sealed.command(name).wait(_START_SECONDS) == 0, sealed.said()
        assert sealed.probe() != 0, "the probe is content with nobody"
        api = started(sealed)
        try:
            asked(f"http://127.0.0.1:{sealed.port}", api)
            assert sealed.probe() == 0, sealed.said()
            os.kill(child(api.pid), signal.SIGTERM)
            assert api.wait(_STOP_SECONDS) == 0, sealed.said()
        finally:
            api.kill()
            api.wait()


def started(sealed: Sealed) -> "subprocess.Popen[bytes]":
    """The API, ready. Until it listens, a port that was free may become somebody's: it gets others then, twice."""
    for _ in range(3):
        sealed.choose_ports()
        api = sealed.command("api")
        late = time.monotonic() + _START_SECONDS
        while api.poll() is None and not _ready(f"http://127.0.0.1:{sealed.port}"):
            if time.monotonic() > late:
                api.kill()
            time.sleep(0.1)
        if api.poll() is None:
            return api
        if _IN_USE not in sealed.said():
            break
    raise AssertionError(sealed.said())


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def asked(url: str, api: "subprocess.Popen[bytes]") -> None:
    """It lives, and refuses a stranger by what the database says."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{child(child(api.pid))}/status").read_text().splitlines())
    assert set(status["Uid"].split()) == {"65532"}, status
    assert httpx.get(f"{url}/livez").status_code == 200
    stranger = httpx.get(f"{url}/v1/me", headers={"authorization": "Bearer nobody"})
    assert (stranger.status_code, stranger.json()["code"]) == (401, "unauthenticated"), stranger.text


def child(of: int) -> int:
    """unshare's is tini, and tini's is the program."""
    (found,) = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return int(found)
