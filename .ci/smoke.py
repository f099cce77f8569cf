"""The product as a newcomer starts it: up in an empty folder, asked, signed in to, stopped with Ctrl-C, gone."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from insula.seed import PASSWORD

START_SECONDS = 120


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = os.environ | {"INSULA_HOME": str(home)}
        up = subprocess.Popen(["./insula", "up", "--port", "0"], env=environment, start_new_session=True)
        try:
            instance = running(up, environment)
            family = psutil.Process(up.pid).children(recursive=True)
            use(instance["INSULA_URL"])
            up.send_signal(signal.SIGINT)
            ended = up.wait(60)
        finally:
            up.kill()
        assert ended == 0, f"up ended with {ended}"
        _, left = psutil.wait_procs(family, timeout=10)
        assert not left, f"still running: {left}"
        asked = subprocess.run(["./insula", "env"], env=environment, capture_output=True, check=False)
        assert asked.returncode != 0, "env still prints an instance"
    print("Up, used, stopped, gone.")


def running(up: "subprocess.Popen[bytes]", environment: dict[str, str]) -> dict[str, str]:
    """What `insula env` prints once everything runs."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert up.poll() is None, "up ended by itself"
        asked = subprocess.run(["./insula", "env"], env=environment, capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout:
            return dict(line.split("=", 1) for line in asked.stdout.splitlines())
        time.sleep(0.5)
    sys.exit(f"not up within {START_SECONDS} s")


def use(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        signed_in = client.post("/v1/auth/sign-in", json={"email": "olivia@example.com", "password": PASSWORD})
        assert signed_in.status_code in {200, 201}, signed_in.text
        client.headers["authorization"] = f"Bearer {signed_in.json()['token']}"
        client.cookies.clear()
        organizations = client.get("/v1/me/organizations").json()["data"]
        assert organizations, "the demo's owner has an organization"
        projects = client.get(f"/v1/organizations/{organizations[0]['id']}/projects")
        assert projects.status_code == 200, projects.text
        assert client.get("/openapi.json").json()["openapi"].startswith("3.1")


main()
