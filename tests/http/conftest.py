"""The program's document, and the program with a workshop in it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from litestar import Litestar

from insula.settings import Settings
from tests import workshop
from tests.factories import World

Operation = tuple[str, str, dict[str, Any]]
"""Method in small letters, path, and what the document says of it."""


@pytest.fixture(scope="session")
def document(litestar: Litestar) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(litestar.state.description.write())
    return found


@pytest.fixture(scope="session")
def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]


@pytest.fixture(scope="session")
async def shop(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    """A world whose program has the routes of tests/workshop.py."""
    async with workshop.opened(settings, superuser) as world:
        yield world
