"""Somebody who uses the installation from outside, over https: run in the machine, by the program's own Python.

    visitor sign-up ADDRESS     an account, by the mailed link; an organization of theirs; a session, kept in a file
    visitor work ADDRESS        reads, makes projects and invites until its input ends; then what was promised is looked for
    visitor projects ADDRESS    the names of what is there
    visitor invite ADDRESS WHOM

Nothing is asked twice, and whatever is not the answer is told.
"""

import asyncio
import json
import os
import re
import secrets
import ssl
import sys
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Final

import httpx

from tests.deploy.machine.surroundings import LETTERS, SITE

PASSWORD: Final = "correct horse battery staple"
STATE: Final = Path("/var/lib/visitor")
PER_SECOND: Final = 6  # of 10 that one person may
LETTER_SECONDS: Final = 60
_INVITES: Final = 8


def client(**more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"https://{SITE}", verify=ssl.create_default_context(), timeout=30, **more)


async def call(asking: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """What is answered; with a key where something is made."""
    headers = {"idempotency-key": secrets.token_hex()} if method == "POST" else {}
    answer = await asking.request(method, path, json=body, headers=headers)
    if not answer.is_success:
        raise httpx.HTTPError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer.json()


async def letter(address: str) -> str:
    """The text of the latest one to this address, when there is one."""
    async with asyncio.timeout(LETTER_SECONDS):
        while not (found := sorted(Path(LETTERS).glob(f"[0-9]*-{address}"))):
            await asyncio.sleep(0.1)
    body = message_from_bytes(found[-1].read_bytes(), policy=policy.default).get_body(("plain",))
    assert body is not None
    return str(body.get_content())


async def sign_up(email: str) -> str:
    name = email.partition("@")[0]
    async with client() as stranger:
        await call(stranger, "POST", "/v1/auth/sign-up", {"name": name, "email": email, "password": PASSWORD})
        link = re.search(r"#token=(\S+)", await letter(email))
        assert link is not None
        await call(stranger, "POST", "/v1/auth/verification", {"token": link[1], "password": PASSWORD})
        session = await call(stranger, "POST", "/v1/auth/sign-in", {"email": email, "password": PASSWORD})
    async with client(headers={"authorization": f"Bearer {session['token']}"}) as person:
        made = await call(person, "POST", "/v1/organizations", {"name": name, "slug": f"{name}-island"})
        await call(person, "POST", f"/v1/organizations/{made['id']}/projects", {"name": "First", "key": "FIRST"})
    STATE.mkdir(mode=0o700, exist_ok=True)
    (STATE / email).write_text(json.dumps({"token": session["token"], "organization": made["id"]}))
    return f"{made['name']}: {await projects(email)}"


class Work:
    """What one person asks for, and is promised."""

    def __init__(self, email: str) -> None:
        kept = json.loads((STATE / email).read_text())
        self.asking = client(headers={"authorization": f"Bearer {kept['token']}"})
        self._place = f"/v1/organizations/{kept['organization']}"
        self._run = secrets.token_hex(2).upper()
        self.asked, self.slowest = 0, 0.0
        self.failed: list[str] = []
        self._projects: set[str] = set()
        self._invited: set[str] = set()

    async def ask(self, number: int) -> None:
        self.asked += 1
        began = time.monotonic()
        try:
            await self._one(number)
        except httpx.HTTPError as error:
            self.failed.append(f"after {time.monotonic() - began:.2f} s: {error!r}")
        self.slowest = max(self.slowest, time.monotonic() - began)

    async def _one(self, number: int) -> None:
        name = f"{self._run}{number}"
        if number % _INVITES == 0:
            self._invited.add(await self.invite(f"{name.lower()}@example.com"))
        elif number % 2:
            await call(self.asking, "GET", f"{self._place}/projects?limit=20")
        else:
            await call(self.asking, "POST", f"{self._place}/projects", {"name": name, "key": f"P{name}"})
            self._projects.add(name)

    async def invite(self, address: str) -> str:
        await call(self.asking, "POST", f"{self._place}/invitations", {"email": address, "role": "member"})
        return address

    async def settle(self) -> dict[str, Any]:
        """Wait for every letter, and compare: each once, and nothing that was not promised."""
        async with asyncio.timeout(LETTER_SECONDS):
            while missing := {address for address in self._invited if not self._letters(address)}:
                await asyncio.sleep(0.2)
        there = [name for name in await self.names() if name.startswith(self._run)]
        return {
            "asked": self.asked,
            "failed": self.failed,
            "slowest": round(self.slowest, 2),
            "projects": len(self._projects),
            "lost": sorted(self._projects - set(there)) + sorted(missing),
            "twice": sorted({name for name in there if there.count(name) > 1}),
            "letters": len(self._invited),
            "letters_twice": [address for address in self._invited if len(self._letters(address)) > 1],
        }

    async def names(self) -> list[str]:
        found, cursor = [], ""
        while cursor is not None:
            page = await call(self.asking, "GET", f"{self._place}/projects?limit=100{cursor}")
            found += [project["name"] for project in page["data"]]
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        return found

    def _letters(self, address: str) -> list[Path]:
        return list(Path(LETTERS).glob(f"[0-9]*-{address}"))


async def work(email: str) -> str:
    """At a constant rate, however long answers take."""
    one = Work(email)
    until = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with asyncio.TaskGroup() as requests:
        number = 0
        while not until.done():
            requests.create_task(one.ask(number := number + 1))
            await asyncio.sleep(1 / PER_SECOND)
    return json.dumps(await one.settle())


async def projects(email: str) -> str:
    return json.dumps(sorted(await Work(email).names()))


async def invite(email: str, whom: str) -> str:
    return await Work(email).invite(whom)


if __name__ == "__main__":
    os.umask(0o077)
    commands = {"sign-up": sign_up, "work": work, "projects": projects, "invite": invite}
    print(asyncio.run(commands[sys.argv[1]](*sys.argv[2:])))
