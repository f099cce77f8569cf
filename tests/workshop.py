"""Routes that only tests have, added to the program as a feature: slow, failing, streaming and outdated ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import asyncpg
import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody
from litestar.response import Stream

from insula import app as program
from insula.core.db import Transaction
from insula.core.errors import Conflict
from insula.core.feature import Feature
from insula.core.http.access_log import AccessLog
from insula.core.http.answer_headers import Deprecation
from insula.core.ids import new_id, to_uuid
from insula.core.permissions import EVERYONE, Permission
from insula.core.schemas import Read, Write
from insula.features.projects.models import Project
from insula.settings import Settings
from tests.conftest import running
from tests.factories import World

USE = Permission("workshop:use", "Use the workshop.", EVERYONE)
SECRET = "shown-once-4711"


class Order(Write, frozen=True, kw_only=True):
    """What to make, and what shall happen to it."""

    name: str
    then: str = "succeed"
    count: int = 1
    loud: bool = False


class Piece(Read, frozen=True):
    """What was made."""

    id: str
    name: str
    secret: str


async def _make(db: Transaction, name: str) -> str:
    piece = Project(name=name, key=f"W{new_id('x')[-9:].upper()}", metadata_={})
    db.session.add(piece)
    await db.flush()
    return piece.id


class WorkshopController(Controller):
    """The workshop."""

    path = "/v1/organizations/{organization_id:str}/workshop"
    tags = ["Workshop"]

    @post("/pieces", permission=USE)
    async def make_piece(self, db: NamedDependency[Transaction], data: JSONBody[Order]) -> Piece:
        """Make a piece: a project, whose key no other has."""
        made = await _make(db, data.name)
        if data.then == "sleep":
            await db.driver.execute("SELECT pg_sleep(0.05)")
        if data.then == "conflict":
            raise Conflict
        if data.then == "explode":
            raise RuntimeError("exploded")
        return Piece(made, data.name, SECRET)

    @post("/oddities", permission=USE)
    async def make_oddity(self, db: NamedDependency[Transaction], data: JSONBody[Order]) -> dict[str, Any]:
        """Make a piece that cannot be shown."""
        return {"id": await _make(db, data.name), "odd": object()}

    @post("/streams", permission=USE)
    async def make_stream(self, db: NamedDependency[Transaction], data: JSONBody[Order]) -> Stream:
        """Make a piece and stream the answer."""
        await _make(db, data.name)
        return _stream(data.count)

    @get("/streams", permission=USE)
    async def get_stream(self, count: FromQuery[int] = 3) -> Stream:
        """A long answer."""
        return _stream(count)

    @post("/locks", permission=USE)
    async def take_locks(self, db: NamedDependency[Transaction], data: JSONBody[list[str]]) -> Piece:
        """Lock these pieces in the given order, and make another."""
        for piece in data:
            await db.driver.execute("SELECT FROM app.project WHERE id = $1 FOR UPDATE", to_uuid("prj", piece))
            await asyncio.sleep(0.1)
        return Piece(await _make(db, str(data)), str(data), "")

    @get("/naps", permission=USE)
    async def nap(self, db: NamedDependency[Transaction], seconds: FromQuery[float]) -> Piece:
        """Keep the database busy."""
        await db.driver.execute("SELECT pg_sleep($1)", seconds)
        return Piece("", "", "")

    @get("/relics", permission=USE, deprecation=Deprecation(date(2026, 11, 1), date(2027, 5, 1)))
    async def get_relic(self) -> Piece:
        """A route that will go."""
        return Piece("", "", "")


def _stream(count: int) -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(count):
            yield b"part %d\n" % number
            await asyncio.sleep(0)

    return Stream(parts(), media_type="text/plain")


FEATURE = Feature(name="workshop", controllers=(WorkshopController,), permissions=(USE,))


@asynccontextmanager
async def opened(settings: Settings, superuser: asyncpg.Connection, **changes: Any) -> AsyncIterator[World]:
    """The program with the workshop in it; ``changes`` are other settings."""
    features = program.FEATURES
    program.FEATURES = (*features, FEATURE)
    changed = msgspec.structs.replace(settings, **changes)
    try:
        app = program.create_litestar(changed)
    finally:
        program.FEATURES = features
    async with running(app):
        yield World(AccessLog(app), changed, superuser)
