"""Logs: what may be written down, and what never is."""

import json
import logging
import time
from typing import Any

import msgspec
import pytest
import structlog

from insula.core.logs import REDACTED, configure_logs, redact

SECRET = "ins_ses_01j5zzzzzzzzzzzzzzzzzzzzzzabcdefghijklmnop2222222"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
HOSTILE = 'x\n{"level":"error"}\r\x1b[31m\x9b2J\u2028\u202e"'

log = structlog.get_logger()

pytestmark = pytest.mark.usefixtures("quiet_again")

Captured = pytest.CaptureFixture[str]


def lines(captured: Captured) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.readouterr().out.splitlines()]


def test_a_line_says_when_how_grave_what_and_for_whom(capsys: Captured) -> None:
    configure_logs("info", json=True)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id="req-12345", tenant="org_1", user="usr_1")
    log.debug("not written")
    log.warning("member removed", member="mem_1")
    (line,) = lines(capsys)
    assert line.pop("time").endswith("+00:00")
    assert list(line)[:2] == ["level", "message"]
    assert line == {
        "level": "warning",
        "message": "member removed",
        "member": "mem_1",
        "request_id": "req-12345",
        "tenant": "org_1",
        "user": "usr_1",
    }


@pytest.mark.attack(137)
@pytest.mark.parametrize("form", [True, False])
def test_no_value_can_forge_a_line_or_steer_a_terminal(capsys: Captured, form: bool) -> None:
    configure_logs("info", json=form)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception(HOSTILE, field=HOSTILE, nested={HOSTILE: [HOSTILE]}, odd=object, lone="\udc80")
    out = capsys.readouterr().out
    assert not set(out) & set("\r\x1b\x9b\u2028\u202e")
    if form:
        (line,) = out.splitlines()
        assert json.loads(line)["message"] == HOSTILE
    else:
        head, *traceback = out.splitlines()
        assert "x\\n{" in head
        assert traceback[0].startswith("Traceback")


@pytest.mark.attack(135)
@pytest.mark.parametrize(
    "leak",
    [
        {"note": f"used {SECRET} twice"},
        {"note": SECRET.upper()},
        {"note": f"got {JWT}"},
        {"note": "Authorization: Basic aHVudGVyMg"},
        {"note": "bearer hunter2"},
        {"note": "{'cookie': 'a=hunter2', 'x': 'hunter2'}"},
        {"note": "[(b'authorization', b'hunter2')]"},
        {"note": "could not reach postgresql://app_rw:hunter2@db:5432/x"},
        {"note": "redis://:hunter2@cache"},
        {"note": "SignIn(email='a@b', password='hunter2 hunter2')"},
        {"note": '{"password": "hunter2 hunter2"}'},
        {"password": "hunter2"},
        {"new_password": "hunter2"},
        {"X-Api-Key": "hunter2"},
        {"set-cookie": "hunter2"},
        {"Idempotency-Key": "hunter2"},
        {"deep": {"list": [{"client_secret": "hunter2"}]}},
        {"refresh_token": 2222222},
        {"bytes": SECRET.encode()},
        {"structure": msgspec.defstruct("Reset", ["token"])(SECRET)},
    ],
)
def test_secrets_are_recognised_by_look_and_by_name(leak: dict[str, Any]) -> None:
    safe = json.dumps(redact(leak)).lower()
    assert REDACTED in safe
    for part in ("hunter2", "zzzz", "2222222", "c2lnbm", "ahvudgvymg"):
        assert part not in safe


def test_what_is_no_secret_stays_readable() -> None:
    kept = {
        "path": "/v1/organizations/org_01j5zz/teams",
        "token_type": "bearer",
        "error": "invalid token: expired",
        "time": "2026-01-01T00:00:00Z",
        "url": "https://example.com:8443/a?b=c",
        "mixed": [3, 0.5, None, True],
    }
    assert redact(kept) == kept


def test_a_secret_inside_a_traceback_is_redacted(capsys: Captured) -> None:
    configure_logs("info", json=True)
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        log.exception("failed")
    (line,) = lines(capsys)
    assert "RuntimeError" in line["exception"]
    assert SECRET not in line["exception"]


def test_no_value_makes_a_line_long_or_slow(capsys: Captured) -> None:
    configure_logs("info", json=True)
    nested: list[Any] = []
    nested.append(nested)
    started = time.perf_counter()
    for text in ("a" * 10_000_000, "://" * 100_000, "token=" * 100_000, "eyjaaaaaaaa." * 100_000):
        log.info(text, nested=nested, number=float("nan"))
    assert time.perf_counter() - started < 1
    assert all(len(json.dumps(line)) < 20_000 for line in lines(capsys))


def test_what_libraries_log_takes_the_same_path(capsys: Captured) -> None:
    library = logging.getLogger("some.library")
    library.addHandler(logging.StreamHandler())
    library.propagate = False
    configure_logs("info", json=True)
    structlog.contextvars.bind_contextvars(request_id="req-12345")
    library.debug("not written")
    library.warning("used %s\n", SECRET)
    library.log(25, "a level of its own")
    first, second = lines(capsys)
    assert (first["message"], first["level"]) == (f"used {REDACTED}\n", "warning")
    assert (first["logger"], first["request_id"]) == ("some.library", "req-12345")
    assert second["level"] == "info"


def test_a_malformed_record_of_a_library_ends_nothing(capsys: Captured) -> None:
    configure_logs("info", json=True)
    logging.getLogger("some.library").warning("%d", "not a number")
    assert lines(capsys) == []
