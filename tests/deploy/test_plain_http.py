"""What asks in the clear: a page is led to https, and a program is refused, whose mistake a redirect would hide."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path

import httpx
import msgspec
import pytest

from insula.core.errors import Forbidden
from insula.core.http.problems import Problem
from tests.deploy.proxies import Caddy, Cells, HAProxy, Proxy
from tests.deploy.test_haproxy_problems import SlowHandler

pytestmark = pytest.mark.peers

PROXIES: dict[str, Callable[[Path, int], Proxy]] = {
    "haproxy": lambda folder, port: HAProxy(folder, [port]),
    "cells": lambda folder, port: Cells(folder, [port, port], {"127.0.0.1": "cell1"}),
    "caddy": Caddy,
}
PROGRAMS = ("/v1/my", "/v1", "/V1/my", "/v1/auth/signing-in?x=1", "/oauth/token", "/scim/v2/Users")
"""Under none of these the program itself has an operation, whose document says what it answers."""

PAGES = ("/", "/auth/reset?from=letter", "/docs", "/.well-known/acme-challenge-of-nobody")


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    program = "caddy" if request.param == "caddy" else "haproxy"
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler) as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        folder = tmp_path_factory.mktemp(request.param)
        yield stack.enter_context(PROXIES[request.param](folder, server.server_address[1]))


@pytest.mark.parametrize("path", PROGRAMS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_program_is_refused_and_the_connection_ends(proxy: Proxy, path: str, method: str) -> None:
    with httpx.Client(base_url=proxy.plain) as client:
        answer = client.request(method, path, headers={"authorization": "Bearer something"})
    assert answer.status_code == 403, answer.text
    assert "location" not in answer.headers
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(answer.content, type=Problem)
    assert (problem.status, problem.code, problem.title) == (403, Forbidden.code, Forbidden.title)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_leads_to_https(proxy: Proxy, path: str) -> None:
    answer = httpx.get(f"{proxy.plain}{path}")
    assert answer.status_code == 308
    assert answer.headers["location"].startswith("https://")
    assert answer.headers["location"].endswith(path)
