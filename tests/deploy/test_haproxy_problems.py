"""What HAProxy answers by itself is a problem (RFC 9457) with a code that the program has: nobody has to read HTML."""

import re
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from insula.core.errors import DomainError
from insula.core.http.problems import Problem
from tests.deploy.proxies import HAProxy

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

DEPLOY = Path(__file__).parents[2] / "deploy"
OWN = {408, 500, 502, 503, 504}
"""What HAProxy says by itself where it is used so; its other answers are for what these files do not ask of it."""
SAYS = re.compile(r"(?m)^    http-error status (\d+) content-type application/problem\+json .*string '(.+)'$")


class Slow(ThreadingHTTPServer):
    """Says that it is ready, hangs up over /die and answers /hang when it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SlowHandler)
        self.asked, self.told = threading.Event(), threading.Event()


class SlowHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Slow

    def do_GET(self) -> None:
        if self.path == "/hang":
            self.server.asked.set()
            self.server.told.wait(20)
        self.close_connection = True
        if self.path != "/die":
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[Slow]:
    with Slow() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.told.set()
        server.shutdown()


Start = Callable[..., HAProxy]


@pytest.fixture
def start(server: Slow, tmp_path: Path) -> Iterator[Start]:
    """Starts the proxy in front of the one server, with some words of its file replaced."""
    with ExitStack() as stack:

        def starting(*changes: tuple[str, str]) -> HAProxy:
            def change(text: str) -> str:
                for ours, other in changes:
                    assert ours in text
                    text = text.replace(ours, other)
                return text

            return stack.enter_context(HAProxy(tmp_path, [server.server_port], change))

        yield starting


def problem(answer: httpx.Response, status: int, code: str) -> Problem:
    """The answer, which must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = msgspec.json.decode(answer.content, type=Problem)
    assert (told.type, told.status, told.code) == (f"urn:insula:problem:{code}", status, code)
    return told


def asked(proxy: HAProxy, path: str) -> httpx.Response:
    return httpx.get(f"{proxy.url}{path}", verify=proxy.trust, timeout=30)


def test_that_nobody_is_there_is_a_problem(server: Slow, start: Start) -> None:
    proxy = start()
    server.shutdown()
    server.server_close()
    answer = asked(proxy, "/v1/me")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_that_too_many_wait_is_a_problem(server: Slow, start: Start) -> None:
    proxy = start(("timeout queue 10s", "timeout queue 200ms"), ("maxconn 512", "maxconn 1"))
    first = threading.Thread(target=asked, args=(proxy, "/hang"))
    first.start()
    assert server.asked.wait(10)
    problem(asked(proxy, "/v1/me"), 503, "unavailable")
    server.told.set()
    first.join(10)


def test_that_a_process_died_over_a_request_is_a_problem(start: Start) -> None:
    told = problem(asked(start(), "/die"), 502, "unavailable")
    assert "may have been carried out" in (told.detail or "")


def test_that_no_answer_came_in_time_is_a_problem(start: Start) -> None:
    proxy = start(("timeout server 60s", "timeout server 500ms"))
    told = problem(asked(proxy, "/hang"), 504, "timed_out")
    assert "may have been carried out" in (told.detail or "")


def test_that_a_body_never_ends_is_a_problem(start: Start) -> None:
    proxy = start(("timeout http-request 10s", "timeout http-request 500ms"))
    address = urlsplit(proxy.url)
    assert isinstance(proxy.trust, ssl.SSLContext)
    plain = socket.create_connection((address.hostname, address.port), timeout=10)
    with plain, proxy.trust.wrap_socket(plain, server_hostname=address.hostname) as secured:
        secured.sendall(b"POST /v1/me HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{")
        head, _, body = b"".join(iter(lambda: secured.recv(10_000), b"")).partition(b"\r\n\r\n")
    first, *fields = head.decode().lower().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    problem(httpx.Response(int(first.split()[1]), headers=headers, content=body), 408, "request_timeout")


@pytest.mark.parametrize("name", ["haproxy.cfg", "cells.cfg"])
def test_each_says_what_the_program_says(name: str) -> None:
    """Which codes there are, and what they are called."""
    titles = {kind.code: kind.title for kind in kinds(DomainError)}
    found = {
        int(status): msgspec.json.decode(said, type=Problem)
        for status, said in SAYS.findall((DEPLOY / name).read_text())
    }
    assert found.keys() == OWN
    assert 502 not in {kind.status for kind in kinds(DomainError)}, "the watch over undeclared answers passes over it"
    for status, told in found.items():
        assert (told.status, told.type) == (status, f"urn:insula:problem:{told.code}")
        assert told.title == titles[told.code]


def kinds(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)
