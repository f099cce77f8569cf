"""What HAProxy sends again when a process dies over a request, and what it must not."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from litestar import Litestar

from insula.core.http.guard import declared_routes
from insula.core.http.idempotency import takes_key
from tests.deploy.proxies import HAProxy

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

KEY = {"idempotency-key": "key-12345"}
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"


class Dying(ThreadingHTTPServer):
    """Says that it is ready, reads each request and hangs up, as a process does that is killed."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), DyingHandler)
        self.asked = asked


class DyingHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Dying

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/readyz":
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self.server.asked.append(self.command)
            self.close_connection = True

    do_POST = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """The test has its own list."""


@pytest.fixture
def asked() -> list[str]:
    """Every request that reached a process."""
    return []


@pytest.fixture
def client(asked: list[str], tmp_path: Path) -> Iterator[httpx.Client]:
    with ExitStack() as stack:
        servers = [stack.enter_context(Dying(asked)) for _ in range(3)]
        for server in servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
            stack.callback(server.shutdown)
        proxy = stack.enter_context(HAProxy(tmp_path, [server.server_port for server in servers]))
        yield stack.enter_context(httpx.Client(base_url=proxy.url, verify=proxy.trust, timeout=30))


MAKING = "/v1/organizations/org_1/projects"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", MAKING, {}),
        ("DELETE", MAKING, {}),
        ("DELETE", MAKING, KEY),
        ("PATCH", MAKING, KEY),
        ("POST", "/v1/auth/verification", KEY),
    ],
)
def test_a_write_that_the_program_would_not_know_again_is_sent_once(
    client: httpx.Client, asked: list[str], method: str, path: str, headers: dict[str, str]
) -> None:
    assert client.request(method, path, content=b"{}", headers=headers).status_code == 502
    assert asked == [method]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [("GET", MAKING, {}), ("POST", MAKING, KEY), ("POST", "/v1/platform/jobs/job_1/redelivery", KEY)],
)
def test_a_read_or_a_write_with_a_key_is_sent_to_others(
    client: httpx.Client, asked: list[str], method: str, path: str, headers: dict[str, str]
) -> None:
    assert client.request(method, path, content=b"{}", headers=headers).status_code == 502
    assert asked == [method] * 4, "once, and three times more"


def test_where_a_key_counts_is_where_the_program_takes_one(litestar: Litestar) -> None:
    (prefixes,) = re.findall(r"acl takes_key path_beg (.+)", CONFIGURATION.read_text())
    posts = [(path, handler) for method, path, handler in declared_routes(litestar) if method == "POST"]
    assert len(posts) > 20
    for path, handler in posts:
        assert path.startswith(tuple(prefixes.split())) == takes_key(handler), path
