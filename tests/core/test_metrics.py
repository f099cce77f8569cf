"""Metrics: a bounded number of series, on a port of their own."""

import asyncio
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from insula.core import metrics


def test_an_invented_method_makes_no_new_series() -> None:
    series = {"method": "OTHER", "route": metrics.UNMATCHED, "status": "405"}
    before = metrics.REGISTRY.get_sample_value("http_requests_total", series) or 0
    for number in range(5):
        metrics.observe_request(f"VERB{number}", metrics.UNMATCHED, 405, 0.01)
    assert metrics.REGISTRY.get_sample_value("http_requests_total", series) == before + 5


def test_no_metric_is_labelled_with_a_tenant_or_a_user() -> None:
    samples = [made for metric in metrics.REGISTRY.collect() for made in metric.samples]
    labels = {name for made in samples for name in made.labels}
    known = {"chore", "method", "route", "status", "le", "limit", "outcome", "login", "task", "kind", "queue", "served"}
    assert labels <= known


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"cannot serve the metrics on 127\.0\.0\.1:{port} .*: Address already in use"
        ):
            metrics.serve_metrics(port)


def test_metrics_are_served_on_a_port_of_their_own() -> None:
    metrics.watch_pool("app_rw", lambda: 8, lambda: 3, lambda: 1)
    metrics.JOBS.labels("invitation.send", "done").inc()
    metrics.OUTBOX_DEPTH.labels("default").set(7)
    server = metrics.serve_metrics(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
    assert server.server_address[0] == "127.0.0.1"
    for expected in (
        'db_pool_in_use{login="app_rw"} 3.0',
        'db_pool_waiting{login="app_rw"} 1.0',
        'jobs_total{outcome="done",task="invitation.send"}',
        'outbox_depth{queue="default"} 7.0',
        "dead_letters 0.0",
        "process_resident_memory_bytes",
    ):
        assert expected in text
    assert "_created" not in text


def test_who_opens_connections_and_says_nothing_takes_a_bounded_number_of_threads_and_keeps_nobody_out() -> None:
    server = metrics.serve_metrics(0)
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(300)]
    try:
        for _ in range(3):
            began = time.monotonic()
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=5) as answer:
                assert answer.status == 200
            assert time.monotonic() - began < 1
        assert settled(lambda: threading.active_count() - before <= metrics.MOST_CONNECTIONS)
        silent[0].settimeout(5)
        assert silent[0].recv(1) == b"", "the oldest made room"
        silent[-1].settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)
    finally:
        for connection in silent:
            connection.close()
        server.shutdown()
        server.server_close()


def settled(reached: Callable[[], bool]) -> bool:
    """Whether it comes to be so within five seconds."""
    until = time.monotonic() + 5
    while not reached() and time.monotonic() < until:
        time.sleep(0.02)
    return reached()


async def test_the_port_of_the_metrics_says_whether_the_event_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LOOP_SECONDS", 0.5)
    missing: list[str | None] = [None]

    async def lacks() -> str | None:
        return missing[0]

    server = metrics.serve_metrics(0, "127.0.0.1", asyncio.get_running_loop(), lacks)

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    try:
        assert await asyncio.to_thread(ask, "/livez") == await asyncio.to_thread(ask, "/readyz") == (200, "ok")
        missing[0] = "Redis unreachable"
        assert await asyncio.to_thread(ask, "/readyz") == (503, "Redis unreachable")
        assert await asyncio.to_thread(ask, "/livez") == (200, "ok")
        stuck = [asyncio.create_task(asyncio.to_thread(ask, path)) for path in ("/livez", "/readyz")]
        await asyncio.sleep(0)  # the threads ask, and we give the loop no turn until they have been answered
        time.sleep(2)
        assert await asyncio.gather(*stuck) == [(503, "the event loop stands still")] * 2
    finally:
        server.shutdown()
        server.server_close()
