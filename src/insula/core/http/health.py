"""Is the process alive, and should it be sent requests?"""

from typing import Annotated, Final

from litestar import Response, get
from litestar.datastructures import State
from litestar.openapi import ResponseSpec
from msgspec import Meta

from insula.core.schemas import Read


class Health(Read, frozen=True):
    """``ok``, or what is missing."""

    status: Annotated[str, Meta(examples=["ok"])]


class NotReady(Health, frozen=True):
    """What is missing."""

    status: Annotated[str, Meta(examples=["draining"])]


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
