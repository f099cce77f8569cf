"""`insula up` as a newcomer runs it: started, used, stopped, killed, started again."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from insula.embedded.process import is_free
from insula.seed import PASSWORD as DEMO_PASSWORD
from tests.journeys.instance import START_SECONDS, Instance

OF_WHAT_IS_UP = {
    "migrate": "The schema is up to date.",
    "seed": "The demo is there already.",
    "rotate door-key": "The door signs with a new key",
    "rotate pepper": "A new pepper is used from",
    "operator list": "olivia@example.com",
}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    started = Instance(tmp_path / "home")
    yield started
    started.end()


@contextmanager
def signed_in(url: str, email: str, password: str) -> Iterator[httpx.Client]:
    answer = httpx.post(f"{url}/v1/auth/sign-in", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {answer.json()['token']}"}) as client:
        yield client


def test_the_demo_is_there_mail_arrives_and_nothing_survives_a_kill_but_the_data(instance: Instance) -> None:
    running = instance.start()
    assert running["INSULA_LIMIT_TEAMS"] == "77"
    assert "Not used here, where all servers are Insula's own: INSULA_SMTP_PORT" in instance.said()
    password = re.search(r'password\s+"(.+)":', instance.said())
    assert password is not None, instance.said()
    with signed_in(running["INSULA_URL"], "olivia@example.com", password[1]) as client:
        acme = demo(client)
        assert "job gave up" not in instance.said(), "what the demo planted alarms nobody"
        for invited in ("nobody.else@undeliverable.example", "newcomer@example.org"):
            made = client.post(f"/v1/organizations/{acme}/invitations", json={"email": invited, "role": "member"})
            assert made.status_code == 201, made.text
    link = mailed_link(running["INSULA_INBOX_URL"], "newcomer@example.org")
    joined = httpx.post(
        f"{running['INSULA_URL']}/v1/auth/invitations/acceptance",
        json={"token": link.partition("#token=")[2], "name": "New Comer", "password": "a long enough password"},
    )
    assert joined.status_code < 300, joined.text
    instance.until("job gave up", 30)  # of what anybody else asks for
    metrics = httpx.get(running["INSULA_METRICS_URL"]).text
    assert "outbox_depth" in metrics
    assert acme not in metrics

    instance.kill()
    assert instance.left_running() == []
    assert instance.run("env").returncode == 1

    again = instance.start("--base-url", "http://localhost:5173")
    by_cookie = {"email": "newcomer@example.org", "password": "a long enough password", "transport": "cookie"}
    for origin, status in (("http://localhost:5173", 200), (again["INSULA_URL"], 403)):
        answer = httpx.post(f"{again['INSULA_URL']}/v1/auth/sign-in", json=by_cookie, headers={"origin": origin})
        assert answer.status_code == status, answer.text
    with signed_in(again["INSULA_URL"], "newcomer@example.org", "a long enough password") as client:
        assert client.get("/v1/me/organizations").json()["data"][0]["id"] == acme
    second = instance.run("up", "--port", "0")
    assert second.returncode == 1
    assert "already up" in second.stderr
    assert instance.stop() == 0, instance.said()
    assert instance.left_running() == []
    assert "Traceback" not in instance.said()


def demo(client: httpx.Client) -> str:
    """The id of the demo's organization; all that belongs to it is there."""
    (acme,) = client.get("/v1/me/organizations").json()["data"]
    base = f"/v1/organizations/{acme['id']}"
    assert len(client.get(f"{base}/members").json()["data"]) == 5
    keys = {project["key"] for project in client.get(f"{base}/projects").json()["data"]}
    assert keys == {"WEB", "SKATES", "ANVIL"}
    assert len(client.get(f"{base}/invitations").json()["data"]) >= 2
    assert client.get("/docs").status_code == 200
    assert dead_letter(client)["last_error"].startswith("GiveUp: 550 no such mailbox")
    return str(acme["id"])


def test_doctor_finds_what_is_up_fresh_forgets_it_and_a_taken_port_is_named(instance: Instance, tmp_path: Path) -> None:
    running = instance.start()
    port = running["INSULA_URL"].rsplit(":", 1)[1]
    assert "loop=uvloop" in instance.said()
    assert "?status=dead shows the demo's own dead letter" in " ".join(instance.said().split())
    examined = instance.run("doctor")
    assert examined.returncode == 0, examined.stdout
    assert f"what is up in {instance.home}" in " ".join(examined.stdout.split())
    elsewhere = subprocess.run(
        [sys.executable, "-P", "-m", "insula", "doctor"], env=os.environ | running, capture_output=True, text=True
    )
    assert (elsewhere.returncode, "is up in" in elsewhere.stdout) == (0, False), elsewhere.stdout
    for command, answer in OF_WHAT_IS_UP.items():
        done = instance.run(*command.split())
        assert (done.returncode, answer in done.stdout) == (0, True), (command, done.stdout, done.stderr)
        assert f"what is up in {instance.home}" in done.stderr
    other = Instance(tmp_path / "other")
    refused = other.run("up", "--port", port)
    assert refused.returncode == 1
    assert f"Port {port} is in use" in refused.stderr
    before = instance.home / "secrets.json"
    secret = before.read_text()
    assert before.stat().st_mode & 0o077 == 0
    assert instance.stop(signal.SIGTERM) == 0
    instance.start("--fresh")
    assert before.read_text() != secret
    assert instance.stop() == 0


def test_two_that_start_at_the_same_time_take_nothing_from_each_other(tmp_path: Path) -> None:
    both = [Instance(tmp_path / name / "home") for name in ("one", "another")]
    try:
        for instance in both:
            instance.home.parent.mkdir()
            instance.begin()
        found = [instance.wait() for instance in both]
        for running in found:
            assert httpx.get(f"{running['INSULA_URL']}/readyz").status_code == 200
            assert httpx.get(running["INSULA_METRICS_URL"]).status_code == 200
            assert httpx.get(f"{running['INSULA_INBOX_URL']}/messages").status_code == 200
        ports = [port for running in found for port in ports_of(running)]
        assert len(set(ports)) == len(ports) == 2 * 6, ports
        for instance, running in zip(both, found, strict=True):
            assert instance.stop() == 0, instance.said()
            assert instance.left_running() == []
            assert "Traceback" not in instance.said()
            assert all(is_free(port) for port in ports_of(running))
    finally:
        for instance in both:
            instance.end()


def ports_of(running: dict[str, str]) -> list[int]:
    """Every port that an instance listens on."""
    urls = [running[f"INSULA_{name}_URL"] for name in ("INBOX", "METRICS", "DATABASE", "REDIS")]
    parts = [urlsplit(url).port for url in (running["INSULA_URL"], *urls)]
    return [int(port or 0) for port in (*parts, running["INSULA_SMTP_PORT"])]


def test_ctrl_c_ends_a_start_too(instance: Instance) -> None:
    instance.begin()
    instance.until("Waiting for the API")
    began = time.monotonic()
    assert instance.stop() == 0, instance.said()
    assert time.monotonic() - began < 30
    assert "did not become ready" not in instance.said()


def test_its_one_worker_leaves_no_queue_to_others(instance: Instance) -> None:
    instance.environment["INSULA_WORKER_QUEUES"] = "bulk"
    instance.begin()
    assert instance.process is not None
    assert instance.process.wait(START_SECONDS) == 1
    assert "INSULA_WORKER_QUEUES: up has one worker" in instance.said()


def test_a_server_of_its_own_that_dies_is_started_again(instance: Instance) -> None:
    url = instance.start()["INSULA_URL"]
    for server in ("postgres", "valkey"):
        assert instance.process is not None
        children = psutil.Process(instance.process.pid).children()
        (pid,) = [child.pid for child in children if child.cwd().startswith(str(instance.home / server))]
        os.kill(pid, signal.SIGKILL)
        instance.until(f"The embedded {server} died and was started again", 30)
    with signed_in(url, "olivia@example.com", DEMO_PASSWORD) as client:
        assert client.get("/v1/me/organizations").status_code == 200
    assert instance.stop() == 0
    assert "Traceback" not in instance.said()


def dead_letter(operator: httpx.Client) -> dict[str, Any]:
    """The job that the demo has failed for good, once it has."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := operator.get("/v1/platform/jobs", params={"status": "dead"}).json()["data"]:
            (job,) = found
            return dict(job)
        time.sleep(0.2)
    pytest.fail("the demo has no dead letter")


def mailed_link(inbox: str, recipient: str) -> str:
    """The link in the newest letter to somebody, once it has arrived."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        letters = httpx.get(f"{inbox}/messages", params={"to": recipient}).json()["data"]
        links = [link for letter in letters for link in letter["links"] if "#token=" in link]
        if links:
            return str(links[0])
        time.sleep(0.2)
    pytest.fail(f"no letter to {recipient} arrived")
