"""What happens to an installation: it starts, a process dies, a release comes, the database is lost, the machine rests."""

import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx

from tests.authority import Authority
from tests.deploy.engine.installation import DOMAIN, ROOT, Installation
from tests.deploy.engine.people import Busy, Person

WELL: Final = {
    "postgres": "running (healthy)",
    "redis": "running (healthy)",
    "provision": "exited (0)",
    "migrate": "exited (0)",
    "api": "running (healthy)",
    "worker": "running (healthy)",
    "caddy": "running (healthy)",
}
_WELL_SECONDS: Final = 120


def started(installation: Installation, authority: Authority) -> Iterator[str]:
    """From ./prepare to a page over TLS."""
    installation.prepare(authority)
    yield "./prepare made secrets and .env, and asked for the mail server's password"
    began = time.monotonic()
    installation.compose("up", "-d")
    yield f"docker compose up -d came back after {time.monotonic() - began:.0f} s"
    until(lambda: installation.states() == WELL, installation.states)
    yield f"all are well after {time.monotonic() - began:.0f} s: {installation.states()}"
    for before, after in (("provision", "migrate"), ("migrate", "api"), ("migrate", "worker")):
        ended, then = installation.state(before)["State"], installation.state(after)["State"]
        assert ended["FinishedAt"] < then["StartedAt"], (before, ended, after, then)
    yield "provision ended before migrate began, and that before API and worker"
    trust = installation.trust()
    until(lambda: _answers(trust), lambda: installation.compose("logs", "--no-color", "caddy", "public")[-6000:])
    yield f"https://{DOMAIN}/readyz answers, with a certificate for which Caddy asked the stand-in of the public authority"


def lived(installation: Installation, person: Person) -> Iterator[str]:
    yield from _killed(installation, person)
    yield from _released(installation, person, release())
    yield from _released(installation, person, "docker compose up -d")
    yield from _lost_and_back(installation, person)
    before = person.sees()
    installation.compose("down")
    installation.compose("up", "-d")
    until(lambda: installation.states() == WELL, installation.states)
    assert person.sees() == before
    yield "docker compose down, and up -d: all is there, and whoever was signed in still is"


def until(true: Callable[[], bool], tell: Callable[[], Any], seconds: float = _WELL_SECONDS) -> None:
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late, tell()
        time.sleep(0.5)


def _answers(trust: ssl.SSLContext) -> bool:
    try:
        return httpx.get(f"https://{DOMAIN}/readyz", verify=trust).status_code == 200
    except httpx.TransportError:
        return False


def _killed(installation: Installation, person: Person) -> Iterator[str]:
    """`docker kill` would count as a wish; the kernel's SIGKILL of a process does not."""
    for service in ("api", "worker", "postgres", "redis", "caddy"):
        _kill(installation, service)
        until(lambda: installation.states() == WELL, installation.states)
        person.make()
        yield f"{service}, killed with SIGKILL, came back by itself, and a project was made after it"


def _kill(installation: Installation, service: str) -> None:
    """Returns when the engine has started it again."""
    state = installation.state(service)
    os.kill(state["State"]["Pid"], signal.SIGKILL)
    again = state["RestartCount"] + 1
    until(lambda: installation.state(service)["RestartCount"] == again, installation.states)


def _released(installation: Installation, person: Person, way: str) -> Iterator[str]:
    """A release while somebody is busy; what `way` says comes after the build."""
    old = installation.state("api")["Image"]
    with (installation.checkout / "src" / "insula" / "__init__.py").open("a") as file:
        file.write("# the next release\n")
    with Busy(person) as busy:
        installation.compose("build")
        began = time.monotonic()
        installation.engine.shell(way, installation.folder)
        until(lambda: installation.states() == WELL, installation.states)
        took = time.monotonic() - began
        time.sleep(2)
    assert old not in {installation.state(name)["Image"] for name in ("api", "worker")}
    told = ", ".join(f"{method} {status}: {count}" for (method, status), count in sorted(busy.answers.items(), key=str))
    yield f"a release by {way.splitlines()} in {took:.0f} s; slowest answer {busy.slowest:.1f} s; {told}"
    assert {status for (method, status) in busy.answers if method == "GET"} == {200}
    assert {status for (method, status) in busy.answers if method == "POST"} <= {201, 502}
    assert {status for (method, status) in busy.answers if method == "POST again"} <= {201}


def _lost_and_back(installation: Installation, person: Person) -> Iterator[str]:
    """The README's own lines."""
    dump, way_back = dump_and_way_back()
    kept = person.sees()
    installation.engine.shell(dump, installation.folder)
    assert (installation.folder / "insula.dump").stat().st_mode & 0o777 == 0o600
    assert person.make() in person.sees() - kept
    yield "the README's dump was made"
    installation.engine.shell(way_back, installation.folder)
    until(lambda: installation.states() == WELL, installation.states)
    assert person.sees() == kept
    person.make()
    yield "the README's way back: what was dumped is there, what came later is not, and a project is made"


def dump_and_way_back() -> tuple[str, str]:
    """The README's lines."""
    dump, way_back = _lines("docker compose exec -T postgres pg_dump").split("# and the way back:\n")
    return dump, way_back


def release() -> str:
    """The README's lines, without the build, which is no part of what anybody notices."""
    first, lines = _lines("docker compose build").split("\n", 1)
    assert first == "docker compose build"
    return lines


def _lines(with_this: str) -> str:
    text = (ROOT / "deploy" / "README.md").read_text()
    (found,) = (each for each in re.findall(r"(?s)```sh\n(.*?)```", text) if with_this in each)
    return str(found)
