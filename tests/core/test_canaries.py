"""The watch over the whole run sees a planted leak, and fails the run."""

import secrets
import time
from base64 import b64encode
from pathlib import Path

import httpx
import pytest

from insula.core.tokens import credential_id, mint
from tests.canaries import WATCH, Watch, _answered
from tests.core.watched import watched_run

ROOT = Path(__file__).parents[2]
PASSWORD = "planted: swordfish & chips"
LEAK = """
import httpx, structlog
from insula.core.logs import configure_logs

def test_signs_in():
    configure_logs("info", json=True)
    transport = httpx.MockTransport(lambda request: httpx.Response(401, text={answer!r}))
    with httpx.Client(transport=transport) as client:
        client.post("http://x", json={{"password": {password!r}}})
    structlog.get_logger().warning({line})
"""


@pytest.mark.attack(135)
@pytest.mark.parametrize(
    ("line", "answer", "workers", "exits"),
    [
        (f"'the word was {PASSWORD}'", "no", 1, 1),
        ("'nothing to see'", f"{PASSWORD} is wrong", 0, 1),
        ("'nothing to see'", "no", 0, 0),
    ],
)
def test_a_run_in_which_a_secret_is_told_fails(
    tmp_path: Path, line: str, answer: str, workers: int, exits: int
) -> None:
    planted = LEAK.format(line=line, answer=answer, password=PASSWORD)
    said = watched_run(tmp_path, planted, "tests.canaries", exits, "-n", str(workers))
    assert (PASSWORD in said) == bool(exits)


@pytest.mark.attack(135)
@pytest.mark.parametrize("told", ["x{}y", '{{"note":"{}"}}', "{}", "a" * 9 + "{}"])
def test_a_secret_is_seen_wherever_it_stands_and_whenever_it_is_known(tmp_path: Path, told: str) -> None:
    for secret in ("hunter2 hunter2 hunter2", 'quoted "and" \u00fcber', "MDEyMzQ1Njc4OWFi+/=="):
        watch = Watch()
        watch.said(
            told.format(secret.encode("unicode_escape").decode().replace('"', '\\"').replace("\\xfc", "\\u00fc"))
        )
        assert watch.leaks() == []
        watch.remember(secret)
        assert len(watch.leaks()) == 1
    file = tmp_path / "said.log"
    watch.said_in(file)
    file.write_text(f"one\nhttps://x/?a={'MDEyMzQ1Njc4OWFi%2B%2F%3D%3D'}\n")
    assert watch.leaks()[1:] == [f"https://x/?a={'MDEyMzQ1Njc4OWFi%2B%2F%3D%3D'}"]


def test_what_anything_may_contain_is_no_canary() -> None:
    watch = Watch()
    watch.said("request aaaaaaaaaaaaaaaa of short and every demo needs a password")
    watch.shown("every demo needs a password")
    for plain in ("short", "aaaaaaaaaaaaaaaa", "every demo needs a password"):
        watch.remember(plain)
    assert watch.leaks() == []


@pytest.mark.attack(135)
def test_what_the_program_mints_is_remembered() -> None:
    token, lease = mint("session", credential_id()), secrets.token_bytes(32)
    assert len(WATCH.found([token, f"x{token[-39:]}", b64encode(lease).decode(), lease.hex(), "nothing"])) == 4


def test_a_large_body_that_names_no_secret_is_looked_through_at_once() -> None:
    request = httpx.Request("POST", "http://x", json={"note": "so an' so on " * 8000})
    began = time.process_time()
    _answered(request, httpx.Response(413, content=request.content))
    assert time.process_time() - began < 2  # a search that starts again at each place takes ten minutes
