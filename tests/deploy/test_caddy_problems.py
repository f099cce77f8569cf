"""What Caddy answers by itself is a problem (RFC 9457) with a code that the program has."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from insula.core.errors import DomainError
from insula.core.http.problems import Problem
from tests.deploy.proxies import Caddy
from tests.deploy.test_haproxy_problems import DEPLOY, Slow, kinds, problem, server

__all__ = ["server"]

SAYS = re.compile(r"(?m)^\t\trespond (?:@(\d+) )?`(.+)`(?: (\d+))?$")

peers = pytest.mark.peers
installed = pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")


@pytest.fixture
def proxy(server: Slow, tmp_path: Path) -> Iterator[Caddy]:
    """In front of the one server, with less patience."""

    def hurried(text: str) -> str:
        for ours, other in (("try_duration 60s", "try_duration 500ms"), ("header_timeout 60s", "header_timeout 500ms")):
            assert ours in text
            text = text.replace(ours, other)
        return text

    with Caddy(tmp_path, server.server_port, hurried) as running:
        yield running


def asked(proxy: Caddy, path: str) -> httpx.Response:
    return httpx.get(f"{proxy.url}{path}", timeout=30)


@peers
@installed
def test_that_nobody_answers_is_a_problem(server: Slow, proxy: Caddy) -> None:
    assert asked(proxy, "/v1/me").status_code == 200
    problem(asked(proxy, "/die"), 502, "unavailable")
    problem(asked(proxy, "/hang"), 504, "timed_out")
    server.shutdown()
    server.server_close()
    problem(asked(proxy, "/v1/me"), 502, "unavailable")


def test_it_says_what_the_program_says() -> None:
    titles = {kind.code: kind.title for kind in kinds(DomainError)}
    said = SAYS.findall((DEPLOY / "compose" / "Caddyfile").read_text())
    assert {matched or given for matched, _, given in said} == {"413", "500", "502", "504"}
    for matched, body, given in said:
        told = msgspec.json.decode(body, type=Problem)
        assert (told.status, told.type) == (int(matched or given), f"urn:insula:problem:{told.code}")
        assert told.title == titles[told.code]
