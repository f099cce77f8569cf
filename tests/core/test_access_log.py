"""The access log: a request's ids, its one line, its place in the metrics."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import structlog
from litestar import Litestar, get
from litestar.params import FromPath
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from insula.core import metrics
from insula.core.http.access_log import AccessLog
from insula.core.logs import configure_logs

SECRET = "ins_ses_01j5zzzzzzzzzzzzzzzzzzzzzzabcdefghijklmnop2222222"

pytestmark = pytest.mark.usefixtures("quiet_again")

Captured = pytest.CaptureFixture[str]


def lines(captured: Captured) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.readouterr().out.splitlines()]


@get("/things/{thing:str}")
async def thing(thing: FromPath[str]) -> str:
    structlog.contextvars.bind_contextvars(tenant="org_1", user="usr_1")
    return thing


@get("/livez")
async def livez() -> None: ...


SITE = Litestar([thing, livez], openapi_config=None, logging_config=None)


async def fetch(path: str, headers: dict[str, str] | None = None, *, app: ASGIApp = SITE) -> httpx.Response:
    transport = httpx.ASGITransport(AccessLog(app))  # type: ignore[arg-type]  # its hints know no TypedDicts
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return await client.get(path, headers=headers)


async def test_a_request_leaves_one_line_without_its_query_and_headers(capsys: Captured) -> None:
    configure_logs("info", json=True)
    sent = {"authorization": SECRET, "x-request-id": "abc_DEF-123"}
    answer = await fetch(f"/things/a%0Ab?code={SECRET}", sent)
    assert answer.headers["x-request-id"] == "abc_DEF-123"
    (line,) = lines(capsys)
    assert 0 < line.pop("duration_ms") < 1000
    assert len(line.pop("trace_id")) == 32
    del line["time"]
    assert line == {
        "level": "info",
        "message": "request",
        "method": "GET",
        "path": "/things/a\nb",
        "route": "/things/{thing}",
        "status": 200,
        "bytes": 3,
        "request_id": "abc_DEF-123",
        "tenant": "org_1",
        "user": "usr_1",
    }


async def test_how_slowly_an_answer_is_read_is_not_how_long_it_took(capsys: Captured) -> None:
    configure_logs("info", json=True)
    reading_seconds, busy = 0.5, [sample("http_requests_in_flight")]

    async def read_slowly(scope: Scope, receive: Receive, send: Send) -> None:
        async def read(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                busy.append(sample("http_requests_in_flight"))
                await asyncio.sleep(reading_seconds)

        await AccessLog(SITE)(scope, receive, read)

    transport = httpx.ASGITransport(read_slowly)  # type: ignore[arg-type]  # its hints know no TypedDicts
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        await client.get("/things/a")
    (line,) = lines(capsys)
    assert 0 < line["duration_ms"] < reading_seconds * 1000
    assert {*busy, sample("http_requests_in_flight")} == {busy[0]}


@pytest.mark.attack(137)
@pytest.mark.parametrize("sent", ["short", "a" * 65, "has space", 'quo"te12', "new\tline"])
async def test_a_request_id_is_ours_unless_it_is_harmless(sent: str) -> None:
    answer = await fetch("/livez", {"x-request-id": sent})
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", True),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("garbage", False),
    ],
)
async def test_a_trace_with_a_valid_parent_is_continued(capsys: Captured, sent: str, taken: bool) -> None:
    configure_logs("info", json=True)
    await fetch("/things/a", {"traceparent": sent})
    (line,) = lines(capsys)
    assert (line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736") is taken
    assert line["trace_id"] != "0" * 32
    assert len(line["trace_id"]) == 32


async def test_one_request_s_context_does_not_reach_the_next(capsys: Captured) -> None:
    configure_logs("debug", json=True)
    await fetch("/things/a")
    await fetch("/livez")
    first, second = (line for line in lines(capsys) if line["message"] == "request")
    assert first["tenant"] == "org_1"
    assert "tenant" not in second
    assert first["trace_id"] != second["trace_id"]


async def test_probes_are_logged_at_debug_level_only(capsys: Captured) -> None:
    configure_logs("info", json=True)
    await fetch("/livez")
    assert lines(capsys) == []


async def test_a_failure_outside_the_framework_is_logged_as_500(capsys: Captured) -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError(SECRET)

    configure_logs("info", json=True)
    with pytest.raises(RuntimeError):
        await fetch("/x", app=broken)
    failure, line = lines(capsys)
    assert failure["request_id"] == line["request_id"]
    assert SECRET not in failure["exception"]
    assert (line["status"], line["level"]) == (500, "error")


async def test_a_caller_who_hangs_up_is_logged_as_499(capsys: Captured) -> None:
    async def endless(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(60)

    configure_logs("info", json=True)
    request = asyncio.create_task(fetch("/x", app=endless))
    await asyncio.sleep(0.01)
    assert sample("http_requests_in_flight") == 1
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    (line,) = lines(capsys)
    assert line["status"] == 499
    assert sample("http_requests_in_flight") == 0


def sample(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0


async def test_requests_are_counted_by_route_and_never_by_path() -> None:
    routed = {"method": "GET", "route": "/things/{thing}"}
    before = sample("http_requests_total", status="200", **routed)
    for number in range(3):
        await fetch(f"/things/{number}")
        await fetch(f"/nothing/{number}")
    assert sample("http_requests_total", status="200", **routed) == before + 3
    assert sample("http_request_seconds_count", **routed) >= 3
    assert sample("http_requests_total", method="GET", route=metrics.UNMATCHED, status="404") >= 3
    routes = {made.labels.get("route", "") for metric in metrics.REGISTRY.collect() for made in metric.samples}
    assert not {route for route in routes if "nothing" in route}
