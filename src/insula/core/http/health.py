"""Is the process alive, and should it be sent requests?"""

import asyncio

from litestar import Response, get
from litestar.datastructures import State

from insula.core.db import Database
from insula.core.schemas import Read


class Health(Read, frozen=True):
    """``ok``, or what is missing."""

    status: str


class Draining:
    """Set when the process was told to stop: requests under way finish, new ones should go elsewhere."""

    def __init__(self) -> None:
        self.started = False


@get("/livez", public="liveness says nothing about anybody", tags=["Health"])
async def get_liveness() -> Health:
    """Whether the process runs. It asks no database: a blip there must not restart the fleet."""
    return Health("ok")


@get("/readyz", public="readiness says nothing about anybody", tags=["Health"])
async def get_readiness(state: State) -> Response[Health]:
    """Whether requests should be sent here."""
    if state.draining.started:
        return Response(Health("draining"), status_code=503)
    try:
        async with asyncio.timeout(2):
            await _ask(state.databases.rw)
    except Exception:  # noqa: BLE001  # whatever it is, the answer is the same
        return Response(Health("database unreachable"), status_code=503)
    return Response(Health("ok"))


async def _ask(database: Database) -> None:
    async with database.transaction(read_only=True):
        pass


HEALTH_ROUTES = (get_liveness, get_readiness)
