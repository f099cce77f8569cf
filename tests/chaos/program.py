"""Insula put to the test: its API and its workers as processes, and clients that insist on an answer."""

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Final

import asyncpg
import httpx
import uvloop

from insula import app, server
from insula.core.ids import to_text
from insula.core.logs import configure_logs
from insula.settings import Settings
from insula.worker import create_worker
from tests.chaos.contenders import AWAY, GaveUp, Refused, stop_with_parent
from tests.chaos.house import Crew, House
from tests.chaos.tasks import FEATURE, Call, Chain, Stamp
from tests.factories import World

TENANTS: Final = 5
_PATIENCE_SECONDS: Final = 30
_IMPATIENT: Final = 0.1
"""So many clients do not ask again after an answer was lost."""
_HURRIED: Final = 0.1
"""So many requests are broken off at any moment by those who sent them."""
_HURRY_SECONDS: Final = 0.03
_LOST: Final = 0.2
"""So many answers are lost on their way, when everything has happened."""
_ANSWER_SECONDS: Final = 10
_AT_ONCE: Final = 8
_ERRANDS: Final = {2: Stamp, 3: Call, 4: Chain}


def serve(settings: Settings) -> None:
    """The whole life of an API process: `insula api`, with errands among its features."""
    configure_logs("critical", json=True)
    app.FEATURES = (*app.FEATURES, FEATURE)

    async def run() -> None:
        stop_with_parent()
        await server.run(settings)

    try:
        uvloop.run(run())
    except* AWAY:
        pass  # no database to start with: it is started again


def work(settings: Settings) -> None:
    """The whole life of a worker process."""
    configure_logs("critical", json=True)

    async def run() -> None:
        stop_with_parent()
        await create_worker(settings, (*app.FEATURES, FEATURE)).run()

    try:
        uvloop.run(run())
    except* AWAY:
        pass


class Program:
    """Clients that POST projects, invitations and errands, each with a key, until they are answered.

    Without keys they must be found to do things twice.
    """

    crew: Crew = (*(("worker", work),) * 3, *(("api", serve),) * 2)

    def __init__(self, *, keys: bool = True) -> None:
        self._keys = keys
        self._answers: dict[int, bytes] = {}

    async def open(self, house: House) -> None:
        self._house = house
        self._client = httpx.AsyncClient()
        superuser = await house.superuser()
        world = World(None, house.settings, superuser)
        self._owners = [await world.owner() for _ in range(TENANTS)]
        await superuser.close()
        await self._until_ready()

    async def _until_ready(self) -> None:
        async with asyncio.timeout(60):
            while True:
                with suppress(httpx.TransportError):
                    ready = [await self._client.get(f"{address}/readyz") for address in self._house.addresses]
                    if all(answer.status_code == 200 for answer in ready):
                        return
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        await self._client.aclose()

    def effects(self, number: int) -> set[str]:
        key = f"effect-{number}"
        match number % 5:
            case 0:
                return {f"{key}: project", f"{key}: project.created"}
            case 1:
                return {f"{key}: {what}" for what in ("invitation", "invitation.created", "job", "letter")}
            case 4:
                return {key, f"{key}/after"}
            case _:
                return {key}

    async def ask(self, number: int) -> None:
        give_up, patient = time.monotonic() + _PATIENCE_SECONDS, random.random() > _IMPATIENT
        while True:
            hurried = random.random() < _HURRIED
            seconds = random.uniform(0, _HURRY_SECONDS) if hurried else _ANSWER_SECONDS
            with suppress(httpx.TransportError):
                answer = await self._post(number, seconds)
                if not _passes(answer):
                    raise Refused(f"{answer.status_code} {answer.text}")
                if answer.status_code == 201 and random.random() > _LOST:
                    self._answers[number] = answer.content
                    return
            if not patient or time.monotonic() > give_up:
                raise GaveUp
            await asyncio.sleep(random.uniform(0, 0.2))

    async def _post(self, number: int, seconds: float) -> httpx.Response:
        owner = self._owners[number % TENANTS]
        path, body = _request(number, f"effect-{number}")
        headers = {"authorization": f"Bearer {owner.person.token}"}
        if self._keys:
            headers["idempotency-key"] = f"request {number}"
        url = f"{random.choice(self._house.addresses)}{owner.url(path)}"
        return await self._client.post(url, json=body, headers=headers, timeout=httpx.Timeout(10, read=seconds))

    async def unfinished(self, superuser: asyncpg.Connection) -> int:
        count: int = await superuser.fetchval(
            "SELECT count(*) FROM app.outbox WHERE status IN ('waiting', 'due', 'leased')"
        )
        return count

    async def forgotten(self) -> int:
        if not self._keys:
            return 0
        places = asyncio.Semaphore(_AT_ONCE)

        async def differs(number: int, first: bytes) -> bool:
            async with places:
                again = await self._post(number, _ANSWER_SECONDS)
                return (again.content, again.headers.get("idempotent-replayed")) != (first, "true")

        await self._until_ready()
        return sum(await asyncio.gather(*(differs(*answered) for answered in self._answers.items())))

    async def happened(self, superuser: asyncpg.Connection) -> Counter[str]:
        rows = await superuser.fetch(
            "SELECT key AS effect FROM app.chaos_effect"
            " UNION ALL SELECT name || ': project' FROM app.project"
            " UNION ALL SELECT (data ->> 'name') || ': project.created' FROM app.event WHERE type = 'project.created'"
        )
        found = Counter(row["effect"] for row in rows)
        keys = {}
        for row in await superuser.fetch("SELECT id, split_part(email, '@', 1) AS key FROM app.invitation"):
            found[f"{row['key']}: invitation"] += 1
            keys[to_text("inv", row["id"])] = row["key"]
        for row in await superuser.fetch("SELECT target_id FROM app.event WHERE type = 'invitation.created'"):
            found[f"{keys[row['target_id']]}: invitation.created"] += 1
        for row in await superuser.fetch(
            "SELECT payload ->> 'invitation_id' AS id FROM app.outbox"
            " WHERE task = 'invitations.send_invitation' AND status = 'done'"
        ):
            found[f"{keys[row['id']]}: job"] += 1
        for address, letters in self._house.postbox.letters.items():
            found[f"{address.partition('@')[0]}: letter"] += len(letters)
        return found

    async def repeated_calls(self, superuser: asyncpg.Connection) -> int:
        calls: int = await superuser.fetchval("SELECT count(*) - count(DISTINCT job_id) FROM app.chaos_call")
        letters = self._house.postbox.letters.values()
        return calls + sum(came.total() - len(came) for came in letters)


def _request(number: int, key: str) -> tuple[str, dict[str, Any]]:
    """Projects, invitations and the three errands in turn."""
    match number % 5:
        case 0:
            return "/projects", {"name": key, "key": f"P{number}"}
        case 1:
            return "/invitations", {"email": f"{key}@example.com", "role": "member"}
        case kind:
            return "/errands", {"task": _ERRANDS[kind].NAME, "key": key}


def _passes(answer: httpx.Response) -> bool:
    """Whether it was carried out, or it is worth asking again: away, busy, or the first of its key is still running."""
    return answer.status_code in {201, 429, 503} or (
        answer.status_code == 409 and answer.json()["code"] == "request_in_progress"
    )
