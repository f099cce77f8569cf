"""The program as a process on a database of its own, and what its document says of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import requests
import schemathesis
from litestar.handlers import HTTPRouteHandler
from schemathesis import Case

from insula.core.http.health import HEALTH_ROUTES
from insula.product import FEATURES
from insula.settings import Settings
from tests.conftest import address, clone
from tests.declared import Operations
from tests.factories import World
from tests.fuzz.furnishing import Scene, furnish
from tests.journeys.test_processes import Process, answers, environment, free_port

LOGINS = {"": "app_rw", "identity_": "app_identity", "platform_": "app_platform", "owner_": "app_migrator"}

ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429"]
"""What a request that is as documented may be answered with: all but 400, 415 and 428, which say that it is not."""


class Target:
    """The process under test, a world in its database, and its operations by name."""

    def __init__(self, url: str, world: World, document: dict[str, Any]) -> None:
        self.url, self.world = url, world
        schema = schemathesis.openapi.from_dict(document)
        schema.config.checks.positive_data_acceptance.expected_statuses = ACCEPTED
        schema.config.checks.missing_required_header.expected_statuses = ["428"]
        found = [result.ok() for result in schema.get_all_operations()]
        self.operations = {operation.definition.raw["operationId"]: operation for operation in found}
        self.labels = {operation.label for operation in found}
        self._declared = Operations(document).declared
        self._session = requests.Session()
        self._session.cookies.set_policy(_NoCookies())
        self._neighbour: Scene | None = None

    def ask(self, case: Case, headers: dict[str, str]) -> Any:
        """Send a request, as it is."""
        return case.call(base_url=self.url, session=self._session, headers=headers)

    def declares(self, operation: str, status: int, code: str) -> bool:
        """Whether an operation may answer this problem."""
        return (operation, status, code) in self._declared

    def close(self) -> None:
        self._session.close()

    async def neighbour(self) -> Scene:
        """An organization that no caller is in; nothing ever happens there."""
        if self._neighbour is None:
            self._neighbour = await furnish(self.world, "owner")
        return self._neighbour


class _NoCookies(DefaultCookiePolicy):
    """A session that one answer starts is not shown with the next request."""

    def set_ok(self, cookie: object, request: object) -> bool:
        return False


class LiveWorld(World):
    """A world whose clients talk to the process, over connections that they share."""

    def __init__(self, url: str, settings: Settings, superuser: asyncpg.Connection) -> None:
        super().__init__(None, settings, superuser)
        self._url, self.transport = url, httpx.AsyncHTTPTransport()

    def client(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=self.transport, base_url=self._url, headers=headers, timeout=60, **options)


def operation_names() -> list[str]:
    """Every operation that the program's routes declare."""
    controllers = [controller for feature in FEATURES for controller in feature.controllers]
    handlers = [value for each in controllers for value in vars(each).values() if isinstance(value, HTTPRouteHandler)]
    return sorted(handler.fn.__name__ for handler in (*HEALTH_ROUTES, *handlers) if handler.include_in_schema)


@asynccontextmanager
async def running_target(addresses: dict[str, str], settings: Settings, folder: Path) -> AsyncIterator[Target]:
    """Start it, and see when it has ended that its log holds no error."""
    name = f"insula_fuzz_{os.getpid()}"
    await clone(addresses["admin"], name)
    urls = {f"{purpose}database_url": address(addresses["admin"], login, name) for purpose, login in LOGINS.items()}
    own, port, log = msgspec.structs.replace(settings, **urls), free_port(), folder / "api.log"
    superuser = await asyncpg.connect(addresses["admin"], database=name)
    url = f"http://127.0.0.1:{port}"
    api = Process("api", environment(own, port=port), log)
    world = LiveWorld(url, own, superuser)
    try:
        await answers(url)
        async with httpx.AsyncClient() as client:
            document = (await client.get(f"{url}/openapi.json")).json()
        target = Target(url, world, document)
        yield target
        target.close()
    finally:
        await world.transport.aclose()
        await asyncio.to_thread(api.end)
        await superuser.close()
    assert complaints_in(log.read_text()) == []


def complaints_in(said: str) -> list[str]:
    """The lines of a log that somebody would have to look at."""
    lines = [line for line in said.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("{") or json.loads(line)["level"] != "info"]
