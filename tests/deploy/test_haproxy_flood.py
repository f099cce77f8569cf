"""Whoever shows a credential far more often than the program allows is refused before it."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.deploy.proxies import HAProxy

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

_SOON = 3000
"""Requests, one after the other: more than 400 of them in ten seconds, on any machine."""
BUSY = "/v1/organizations/busy/projects"
"""Of an organization that has asked too much."""
_WINDOW_SECONDS = 10
"""In which HAProxy counts."""


class Counting(ThreadingHTTPServer):
    """Answers whatever is asked, and counts by what was shown; of one place it says that too much was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CountingHandler)
        self.shown: Counter[str] = Counter()


class CountingHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counting

    def do_GET(self) -> None:
        self.server.shown[self.headers.get("authorization") or self.headers.get("cookie") or ""] += 1
        self.send_response(429 if self.path == BUSY else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(server: Counting, tmp_path: Path) -> Iterator[httpx.Client]:
    with ExitStack() as stack:
        proxy = stack.enter_context(HAProxy(tmp_path, [server.server_address[1]]))
        yield stack.enter_context(httpx.Client(base_url=proxy.url, verify=proxy.trust))


@pytest.mark.parametrize(
    ("noisy", "quiet"),
    [
        ({"authorization": "Bearer one"}, {"authorization": "Bearer other"}),
        ({"cookie": "__Host-insula_session=one"}, {"cookie": "__Host-insula_session=other"}),
    ],
)
def test_a_flood_of_one_credential_ends_at_the_proxy_and_is_nobody_elses(
    server: Counting, client: httpx.Client, noisy: dict[str, str], quiet: dict[str, str]
) -> None:
    answers = (client.get("/v1/me", headers=noisy) for _ in range(_SOON))
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "10"
    assert refused.json()["code"] == "rate_limited"
    (value,) = noisy.values()
    reached = server.shown[value]
    assert reached >= 400
    assert client.get("/v1/me", headers=noisy).status_code == 429
    assert server.shown[value] == reached
    assert client.get("/v1/me", headers=quiet).status_code == 200
    assert client.get("/v1/me").status_code == 200


def test_another_spelling_of_the_scheme_begins_no_new_count(server: Counting, client: httpx.Client) -> None:
    spelled = ("Bearer one", "bearer one", "BEARER  one", "Bearer   one")
    answers = [client.get("/v1/me", headers={"authorization": spelled[n % 4]}).status_code for n in range(_SOON)]
    assert set(answers) == {200, 429}
    assert client.get("/v1/me", headers={"authorization": "Bearer      one"}).status_code == 429
    assert client.get("/v1/me", headers={"authorization": "Bearer other"}).status_code == 200


def test_who_asks_on_where_the_program_refuses_is_refused_before_it(server: Counting, client: httpx.Client) -> None:
    many = [{"authorization": f"Bearer {number}"} for number in range(3)]
    for headers in many:
        answers = [client.get(BUSY, headers=headers) for _ in range(150)]
        assert {answer.status_code for answer in answers} == {429}
        assert 50 <= server.shown[headers["authorization"]] < 60
        for elsewhere in ("/v1/me", "/v1/organizations/idle/projects"):
            assert client.get(elsewhere, headers=headers).status_code == 200
        assert client.get(f"{BUSY}?limit=1", headers=headers).headers["retry-after"] == "10"
    assert client.get(BUSY, headers={"authorization": "Bearer other"}).headers.get("retry-after") is None, (
        "asked behind"
    )
    assert client.get("/v1/me", headers={"authorization": "Bearer other"}).status_code == 200


def test_who_is_refused_there_is_let_in_again_after_slowing_down_and_not_before(
    server: Counting, client: httpx.Client
) -> None:
    headers, began, asked = {"authorization": "Bearer one"}, time.monotonic(), 0
    while time.monotonic() - began < _WINDOW_SECONDS * 2.5:
        client.get(BUSY, headers=headers)
        asked += 1
        time.sleep(0.05)  # 20 a second: more than who is refused may ask, and half of what HAProxy allows a credential
    assert server.shown["Bearer one"] < 60 < asked
    while client.get(BUSY, headers=headers).headers.get("retry-after") == "10":
        assert time.monotonic() - began < _WINDOW_SECONDS * 5
        time.sleep(1)  # slow enough to be let in again
