"""Clients with everything that keys make: sessions, mailed links, cursors and stored answers, asked for anywhere."""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from typing import Any, Final

import asyncpg
import httpx
import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.chaos.contenders import Refused
from tests.chaos.ledger import Ledger
from tests.chaos.postbox import Postbox
from tests.deploy.clients import Clients
from tests.factories import Member

PASSWORD: Final = "correct horse battery staple"
HANDS: Final = 4
_PAUSE_SECONDS: Final = 0.4
_LETTER_SECONDS: Final = 30.0
_KINDS: Final = 5
_LINK: Final = re.compile(r"#token=(\S+)")
_SESSION: Final = "/v1/me"


class Letterbox(Postbox):
    """Also reads the letters: what the latest link to each address carries."""

    def __init__(self) -> None:
        super().__init__()
        self._links: dict[str, str] = {}

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        if found := _LINK.search(letter.get_body(("plain",)).get_content()):
            self._links |= dict.fromkeys(envelope.rcpt_tos, found[1])
        return await super().handle_DATA(server, session, envelope)

    async def link(self, address: str) -> str:
        """The token of the letter to this address, when it has come. Raises TimeoutError."""
        async with asyncio.timeout(_LETTER_SECONDS):
            while address not in self._links:
                await asyncio.sleep(0.02)
        return self._links[address]


class Part(msgspec.Struct, frozen=True):
    """One of the requests that an errand consists of."""

    method: str
    path: str
    status: int
    token: str | None = None
    body: dict[str, Any] | None = None
    key: str | None = None


class Keyholders(Clients):
    """A contender whose every errand goes from one process to another with what the first one, or a letter, gave it."""

    def __init__(self, client: httpx.AsyncClient, owners: list[Member], letterbox: Letterbox, ports: list[int]) -> None:
        """``ports`` are the API processes that take requests."""
        super().__init__(client, owners, letterbox)
        self._letterbox, self.ports = letterbox, ports
        self._turns = itertools.count()
        self._under_way: Counter[int] = Counter()
        self._cursors: dict[str, str] = {}
        self.failed: Counter[int] = Counter()
        """Requests by the status that they should not have had."""

    def effects(self, number: int) -> set[str]:
        match number % _KINDS:
            case 0:
                kinds = ["project"]
            case 1:
                kinds = ["invitation", "job", "letter", "account"]
            case 2:
                kinds = ["letter", "account"]
            case _:
                kinds = []
        return {f"c{number}: {kind}" for kind in kinds}

    async def ask(self, number: int) -> None:
        """One errand, each request of it once; Refused for whatever is not the answer to one of them."""
        owner = self._owners[number % len(self._owners)]
        match number % _KINDS:
            case 0:
                await self._make_a_project_and_ask_again(owner, number)
            case 1:
                await self._invite_and_come(owner, number)
            case 2:
                await self._sign_up(number)
            case 3:
                await self._sign_in(owner)
            case _:
                await self._turn_pages(owner)

    async def _make_a_project_and_ask_again(self, owner: Member, number: int) -> None:
        body = {"name": f"c{number}", "key": f"C{number}"}
        part = Part("POST", owner.url("/projects"), 201, owner.person.token, body, key=f"key-{number}")
        first, again = await self.asked(part), await self.asked(part)
        if again.content != first.content or "idempotent-replayed" not in again.headers:
            raise Refused(f"not the stored answer: {again.text}")

    async def _invite_and_come(self, owner: Member, number: int) -> None:
        address = f"c{number}@example.com"
        body = {"email": address, "role": "member"}
        await self.asked(Part("POST", owner.url("/invitations"), 201, owner.person.token, body))
        link = {"token": await self._link(address)}
        await self.asked(Part("POST", "/v1/auth/invitations/preview", 200, body=link))
        join = Part("POST", "/v1/auth/invitations/acceptance", 201, body=link | {"name": "G", "password": PASSWORD})
        joined = (await self.asked(join)).json()
        await self._come_and_go(joined["session"]["token"])

    async def _sign_up(self, number: int) -> None:
        address = f"c{number}@example.com"
        body = {"name": "Ada", "email": address, "password": PASSWORD}
        await self.asked(Part("POST", "/v1/auth/sign-up", 202, body=body))
        link = {"token": await self._link(address), "password": PASSWORD}
        verified = await self.asked(Part("POST", "/v1/auth/verification", 200, body=link))
        await self._come_and_go(verified.json()["token"])

    async def _sign_in(self, owner: Member) -> None:
        await self._come_and_go(await self.signed_in(owner))

    async def signed_in(self, owner: Member) -> str:
        """A new session of somebody who has a password."""
        body = {"email": owner.person.email, "password": PASSWORD}
        return str((await self.asked(Part("POST", "/v1/auth/sign-in", 200, body=body))).json()["token"])

    async def _come_and_go(self, token: str) -> None:
        for _ in self.ports:
            await self.asked(Part("GET", _SESSION, 200, token))
        await self.asked(Part("POST", "/v1/auth/sign-out", 204, token))

    async def _turn_pages(self, owner: Member) -> None:
        """The next page of the first cursor that this owner was given, and of the latest one, everywhere."""
        page = owner.url("/projects?limit=1")
        latest = (await self.asked(Part("GET", page, 200, owner.person.token))).json()["next_cursor"]
        for cursor in {self._cursors.setdefault(owner.person.id, latest), latest}:
            for _ in self.ports:
                await self.asked(Part("GET", f"{page}&cursor={cursor}", 200, owner.person.token))

    async def _link(self, address: str) -> str:
        try:
            return await self._letterbox.link(address)
        except TimeoutError as error:
            raise Refused(f"no letter came to {address}") from error

    async def asked(self, part: Part) -> httpx.Response:
        """The answer of the next process; Refused unless it is the one that was deserved."""
        headers = {"authorization": f"Bearer {part.token}"} if part.token else {}
        headers |= {"idempotency-key": part.key} if part.key else {}
        port = self.ports[next(self._turns) % len(self.ports)]
        url = f"http://127.0.0.1:{port}{part.path}"
        began = time.monotonic()
        self._under_way[port] += 1
        try:
            answer = await self._client.request(part.method, url, json=part.body, headers=headers)
        except httpx.TransportError as error:
            raise Refused(f"{part.method} {part.path}: {error!r}") from error
        finally:
            self._under_way[port] -= 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        if answer.status_code != part.status:
            self.failed[answer.status_code] += 1
            raise Refused(f"{part.method} {part.path}: {answer.status_code} {answer.text}")
        return answer

    @asynccontextmanager
    async def without(self, port: int) -> AsyncIterator[None]:
        """No request goes to this process, as when a proxy has taken it out; none that went there is without an answer.

        What reaches a kept connection just when its process is told to stop would be answered by nobody.
        """
        self.ports.remove(port)
        while self._under_way[port]:
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            self.ports.append(port)

    @asynccontextmanager
    async def at_work(self, ledger: Ledger) -> AsyncIterator[None]:
        """Errands until the end of the block, as many at once as there are hands; all are finished."""
        stop = asyncio.Event()

        async def work() -> None:
            while not stop.is_set():
                await ledger.ask()
                await asyncio.sleep(_PAUSE_SECONDS)

        async with asyncio.TaskGroup() as hands:
            for _ in range(HANDS):
                hands.create_task(work())
            try:
                yield
            finally:
                stop.set()

    async def happened(self, superuser: asyncpg.Connection) -> Counter[str]:
        found = Counter({name: count for name, count in (await super().happened(superuser)).items() if name[0] == "c"})
        found.update(
            f"{row['name']}: account"
            for row in await superuser.fetch(
                "SELECT split_part(email, '@', 1) AS name FROM app.\"user\""
                " WHERE email ~ '^c[0-9]' AND email_verified_at IS NOT NULL"
            )
        )
        return found
