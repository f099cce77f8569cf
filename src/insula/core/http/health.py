"""Is the process alive, and should it be sent requests?"""

import asyncio
import time
from typing import Annotated, Final

from litestar import Response, get
from litestar.datastructures import State
from litestar.openapi import ResponseSpec
from msgspec import Meta

from insula.core.db import Database
from insula.core.schemas import Read

_REMEMBERED_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 2.0
_KNOCK: Final = "SELECT verdict FROM app.enter($1, NULL)"
_NOBODY: Final = bytes(32)


class Health(Read, frozen=True):
    """``ok``, or what is missing."""

    status: Annotated[str, Meta(examples=["ok"])]


class NotReady(Health, frozen=True):
    """What is missing."""

    status: Annotated[str, Meta(examples=["draining"])]


class Readiness:
    """Whether requests should be sent here: not once the process was told to stop, nor while the door is shut.

    Anybody may ask, as often as they like: the database is asked once a second.
    """

    def __init__(self, database: Database) -> None:
        self.draining = False
        self._database = database
        self._asking = asyncio.Lock()
        self._known_until = 0.0
        self._lacks: str | None = None

    async def lacks(self) -> str | None:
        """What is missing; None when nothing is."""
        if self.draining:
            return "draining"
        async with self._asking:
            if time.monotonic() > self._known_until:
                self._lacks = await self._ask()
                self._known_until = time.monotonic() + _REMEMBERED_SECONDS
            return self._lacks

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._database.transaction(read_only=True) as transaction:
                verdict = await transaction.driver.fetchval(_KNOCK, _NOBODY)
        except Exception:  # noqa: BLE001  # whatever it is, the answer is the same
            return "database unreachable"
        return None if verdict == "unauthenticated" else "database unreachable"


@get("/livez", public="liveness says nothing about anybody", tags=["Health"])
async def get_liveness() -> Health:
    """Whether the process runs. It asks no database: a blip there must not restart the fleet."""
    return Health("ok")


_NOT_NOW: Final = {503: ResponseSpec(NotReady, description="Not now.")}


@get("/readyz", public="readiness says nothing about anybody", tags=["Health"], responses=_NOT_NOW)
async def get_readiness(state: State) -> Response[Health]:
    """Whether requests should be sent here."""
    lacks = await state.readiness.lacks()
    return Response(NotReady(lacks), status_code=503) if lacks else Response(Health("ok"))


HEALTH_ROUTES = (get_liveness, get_readiness)
