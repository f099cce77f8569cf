"""Clients that read and write at a constant rate, ask nothing twice and forgive nothing."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import httpx

from insula.core.ids import to_text
from tests.chaos.contenders import Refused
from tests.chaos.ledger import Ledger
from tests.chaos.postbox import Postbox
from tests.factories import Member

_PATIENCE_SECONDS: Final = 30


class Clients:
    """A contender for the ledger of chaos: of four requests two read, one makes a project, one invites."""

    def __init__(self, client: httpx.AsyncClient, owners: list[Member], postbox: Postbox) -> None:
        self._client, self._owners, self._postbox = client, owners, postbox
        self.slowest = 0.0

    def effects(self, number: int) -> set[str]:
        match number % 4:
            case 0:
                return {f"c{number}: project"}
            case 1:
                return {f"c{number}: {what}" for what in ("invitation", "job", "letter")}
            case _:
                return set()

    async def ask(self, number: int) -> None:
        """One request, once; Refused for whatever is not the answer to it."""
        owner = self._owners[number % len(self._owners)]
        headers = {"authorization": f"Bearer {owner.person.token}", "idempotency-key": f"key-{number}"}
        method, path, body = request_of(number)
        began = time.monotonic()
        try:
            answer = await self._client.request(method, owner.url(path), json=body, headers=headers)
        except httpx.TransportError as error:
            raise Refused(f"{method} {path}: {error!r}") from error
        self.slowest = max(self.slowest, time.monotonic() - began)
        if answer.status_code != (201 if body else 200):
            raise Refused(f"{method} {path}: {answer.status_code} {answer.text}")

    @asynccontextmanager
    async def asking(self, ledger: Ledger, *, per_second: float) -> AsyncIterator[None]:
        """Ask at this rate until the end of the block, however long answers take, and wait for the last of them."""
        async with asyncio.TaskGroup() as requests:

            async def begin() -> None:
                for _ in itertools.count():
                    requests.create_task(ledger.ask())
                    await asyncio.sleep(1 / per_second)

            beginning = asyncio.create_task(begin())
            try:
                yield
            finally:
                beginning.cancel()

    async def settle(self, superuser: asyncpg.Connection) -> float:
        """Wait until no job is left; returns how long that took, in seconds."""
        began = time.monotonic()
        question = "SELECT count(*) FROM app.outbox WHERE status IN ('waiting', 'due', 'leased')"
        while await superuser.fetchval(question) and time.monotonic() - began < 2 * _PATIENCE_SECONDS:
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    async def happened(self, superuser: asyncpg.Connection) -> Counter[str]:
        """Every effect that there is, and how often."""
        found = Counter(f"{row['name']}: project" for row in await superuser.fetch("SELECT name FROM app.project"))
        names = {}
        for row in await superuser.fetch("SELECT id, split_part(email, '@', 1) AS name FROM app.invitation"):
            found[f"{row['name']}: invitation"] += 1
            names[to_text("inv", row["id"])] = row["name"]
        for row in await superuser.fetch(
            "SELECT payload ->> 'invitation_id' AS id FROM app.outbox"
            " WHERE task = 'invitations.send_invitation' AND status = 'done'"
        ):
            found[f"{names[row['id']]}: job"] += 1
        for address, letters in self._postbox.letters.items():
            found[f"{address.partition('@')[0]}: letter"] += len(letters)
        return found


def request_of(number: int) -> tuple[str, str, dict[str, Any] | None]:
    """Method, path and body of the request with this number."""
    match number % 4:
        case 0:
            return "POST", "/projects", {"name": f"c{number}", "key": f"C{number}"}
        case 1:
            return "POST", "/invitations", {"email": f"c{number}@example.com", "role": "member"}
        case 2:
            return "GET", "/projects?limit=20", None
        case _:
            return "GET", "/members?limit=20", None
