"""Clients that ask through the one address, and insist."""

import asyncio
import random
import time
from contextlib import suppress

import httpx

from tests.chaos.contenders import GaveUp, Refused
from tests.chaos.postbox import Postbox
from tests.deploy.clients import Clients, request_of
from tests.factories import Member

_PATIENCE_SECONDS = 45
_AWAY = frozenset({429, 502, 503, 504})
"""What says: not now. 502 to 504 may be the proxy's, and the request may have been carried out."""


class Insistent(Clients):
    """Asks again, with the same key, until there is an answer; without keys it must be found to do things twice."""

    def __init__(self, client: httpx.AsyncClient, owners: list[Member], postbox: Postbox, *, keys: bool = True) -> None:
        super().__init__(client, owners, postbox)
        self._keys = keys
        self.repeated = 0

    async def ask(self, number: int) -> None:
        owner = self._owners[number % len(self._owners)]
        headers = {"authorization": f"Bearer {owner.person.token}"}
        if self._keys:
            headers["idempotency-key"] = f"key-{number}"
        method, path, body = request_of(number)
        began = time.monotonic()
        while time.monotonic() - began < _PATIENCE_SECONDS:
            with suppress(httpx.TransportError):
                answer = await self._client.request(method, owner.url(path), json=body, headers=headers)
                if answer.status_code == (201 if body else 200):
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    return
                running = answer.status_code == 409 and answer.json()["code"] == "request_in_progress"
                if not running and answer.status_code not in _AWAY:
                    raise Refused(f"{method} {path}: {answer.status_code} {answer.text}")
            self.repeated += 1
            await asyncio.sleep(random.uniform(0.05, 0.3))
        raise GaveUp
