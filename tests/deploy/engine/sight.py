"""What can be seen of a running installation, by whoever is not meant to see it and by whoever is."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import yaml

from tests.deploy.engine import apart
from tests.deploy.engine.installation import DOMAIN, PROJECT, Installation

_INSIDE: Final = {"postgres": 5432, "redis": 6379, "api": 8000, "worker": 9464}
_ASK: Final = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def reached(target):
    host, port = target.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        return False
    return True
with ThreadPoolExecutor(len(sys.argv)) as asking:
    for target, there in zip(sys.argv[1:], asking.map(reached, sys.argv[1:])):
        if there:
            print(target)
"""
_RUNNING: Final = ("postgres", "redis", "api", "worker", "caddy")


def looked_at(installation: Installation) -> Iterator[str]:
    yield from _contained(installation)
    yield from _published()
    yield from _networks(installation)
    yield from _secrets(installation)
    yield from _plain()


def _contained(installation: Installation) -> Iterator[str]:
    """By what the kernel says of the processes, not by what the engine was asked."""
    for service in _RUNNING:
        process = installation.state(service)["State"]["Pid"]
        said = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        allowed = int(said["CapBnd"], 16)
        assert allowed == ((1 << 10) if service == "caddy" else 0), (service, said["CapBnd"])
        assert said["NoNewPrivs"].strip() == "1"
        assert said["Seccomp"].strip() == "2"
        assert "0" not in said["Uid"].split() + said["Gid"].split(), (service, said["Uid"])
        assert installation.engine.fails("compose", "exec", service, "sh", "-c", ": >/x", folder=installation.folder)
    yield "none of the five is root, has a capability (Caddy may listen below 1024) or writes to its root filesystem"


def _published() -> Iterator[str]:
    ports = range(1, 65536)
    listening = {port for port in ports if _takes("127.0.0.1", port)}
    assert listening == {80, 443, 587}, listening  # the last is the mail server, ours
    yield "of this machine's 65,535 ports 80 and 443 are open, and no other"


def _networks(installation: Installation) -> Iterator[str]:
    """By name and, since a name is only known within its network, by address too."""
    asked = [f"{name}:{port}" for name, port in _INSIDE.items()]
    for service, port in _INSIDE.items():
        networks = installation.state(service)["NetworkSettings"]["Networks"]
        asked.append(f"{networks[f'{PROJECT}_inside']['IPAddress']}:{port}")
    assert set(_reached(installation, "inside", asked)) == set(asked)
    assert _reached(installation, "edge", asked) == ["api:8000"]
    assert not _reached(installation, "front", asked)
    assert _reached(installation, "outside", asked) == ["worker:9464"]
    yield "from `edge` only the API is reached, neither PostgreSQL nor Redis, by name or by address; from `front` neither"
    code = "import urllib.request as r; print(r.urlopen('http://{}:9464/metrics').read().decode())"
    for service in ("api", "worker"):
        run = ("run", "--rm", f"--network={PROJECT}_inside", "--entrypoint=python", "insula", "-c")
        assert "# TYPE " in installation.engine.docker(*run, code.format(service))
    yield "from `inside` the metrics of API and worker are read on 9464"
    world = f"{apart.ADDRESS}:587"
    assert _reached(installation, "outside", [world])
    assert not _reached(installation, "inside", [world])
    assert not _reached(installation, "edge", [world])
    yield "from `inside` and `edge`, which are all that the API has, nobody reaches the world"


def _secrets(installation: Installation) -> Iterator[str]:
    services = yaml.safe_load((installation.folder / "compose.yaml").read_text())["services"]
    for service in _RUNNING:
        seen = installation.compose("exec", "-T", service, "sh", "-c", "ls -A /run/secrets 2>/dev/null || true").split()
        assert set(seen) == set(services[service].get("secrets", ())), (service, seen)
    for service in ("provision", "migrate"):
        mounted = {each["Destination"] for each in installation.state(service)["Mounts"]}
        assert mounted == {f"/run/secrets/{each}" for each in services[service]["secrets"]}
    spoken = [file for file in (installation.folder / "secrets").iterdir() if file.name != "redis_conf"]
    told = installation.compose("logs", "--no-color")
    for service in services:
        told += str(installation.state(service)["Config"])
    assert not [file.name for file in spoken if file.read_text().strip() in told]
    yield "each sees the secrets that it declares and no other; none stands in a log or an environment"
    reader = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat"]
    read = subprocess.run([*reader, str(spoken[0])], capture_output=True, check=False)
    assert read.returncode != 0
    yield "another user of this machine reads none of them"


def _plain() -> Iterator[str]:
    refused = httpx.get(f"http://{DOMAIN}/v1/me", headers={"authorization": "Bearer something"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), refused.text
    led = httpx.get(f"http://{DOMAIN}/docs")
    assert (led.status_code, led.headers["location"]) == (308, f"https://{DOMAIN}/docs")
    yield "plain HTTP: /v1 is refused with 403, a page is led to https with 308"


def _reached(installation: Installation, network: str, asked: list[str]) -> list[str]:
    run = ("run", "--rm", f"--network={PROJECT}_{network}", "--entrypoint=python", "insula", "-c", _ASK)
    return installation.engine.docker(*run, *asked).split()


def _takes(host: str, port: int) -> bool:
    with socket.socket() as client:
        # A socket that was given the port it asks for takes itself for the other end.
        return client.connect_ex((host, port)) == 0 and client.getsockname() != client.getpeername()
