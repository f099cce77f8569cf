"""Who uses the installation, through Caddy, as everybody would."""

import re
import ssl
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import httpx

from tests.deploy.engine.installation import DOMAIN
from tests.deploy.engine.letters import Letters

_PASSWORD: Final = "a password for the proof of compose"
_ADDRESS: Final = "ada@example.org"


class Person:
    """Signs up, is mailed, verifies, signs in, makes an organization and projects."""

    def __init__(self, trust: ssl.SSLContext, letters: Letters) -> None:
        self._letters = letters
        self.client = httpx.Client(base_url=f"https://{DOMAIN}", verify=trust, timeout=90)
        self._made = 0

    def arrive(self) -> None:
        """From a stranger to the owner of an organization."""
        self._post("/v1/auth/sign-up", {"name": "Ada", "email": _ADDRESS, "password": _PASSWORD})
        found = re.search(r"#token=(\S+)", self._letters.to(_ADDRESS))
        assert found is not None
        self._post("/v1/auth/verification", {"token": found[1], "password": _PASSWORD})
        self.sign_in()
        organization = self._post("/v1/organizations", {"name": "Analytical"})
        self.projects = f"/v1/organizations/{organization['id']}/projects"

    def sign_in(self) -> None:
        token = self._post("/v1/auth/sign-in", {"email": _ADDRESS, "password": _PASSWORD})["token"]
        self.client.cookies.clear()
        self.client.headers["authorization"] = f"Bearer {token}"

    def make(self) -> str:
        """A project's name."""
        self._made += 1
        name = f"Project {self._made}"
        self._post(self.projects, {"name": name, "key": f"P{self._made}"})
        return name

    def sees(self) -> set[str]:
        """Names of all projects."""
        found, asked = set(), {"limit": "100"}
        while True:
            answer = self.client.get(self.projects, params=asked)
            assert answer.status_code == 200, answer.text
            found |= {each["name"] for each in answer.json()["data"]}
            if not (cursor := answer.json().get("next_cursor")):
                return found
            asked["cursor"] = cursor

    def _post(self, path: str, body: dict[str, str]) -> dict[str, str]:
        answer = self.client.post(path, json=body)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        found: dict[str, str] = answer.json() if answer.content else {}
        return found


class Busy:
    """Somebody who reads and writes all the time; each write with a key of its own, and once more where nobody knows."""

    def __init__(self, person: Person) -> None:
        self._person, self._over = person, threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.answers: Counter[tuple[str, int | str]] = Counter()
        self.slowest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.answers["GET", self._ask("GET")] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            began, key = time.monotonic(), str(uuid4())
            answer = self._ask("POST", key)
            self.answers["POST", answer] += 1
            if answer != 201:
                self.answers["POST again", self._ask("POST", key)] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(0.05)

    def _ask(self, method: str, key: str | None = None) -> int | str:
        headers = {"idempotency-key": key} if key else {}
        body = {"name": "Made during a release", "key": f"R{key[:8].upper()}"} if key else None
        try:
            return self._person.client.request(method, self._person.projects, json=body, headers=headers).status_code
        except httpx.TransportError as error:
            return type(error).__name__
