"""The program with a workshop in it, and its logs as in production."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from insula.core.logs import configure_logs
from insula.settings import Settings
from tests import workshop
from tests.factories import World


@pytest.fixture(autouse=True)
def logs() -> None:
    """Tracebacks for people take seconds to draw."""
    configure_logs("info", json=True)


@pytest.fixture(scope="session")
async def shop(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    """A world whose program has the routes of tests/workshop.py."""
    async with workshop.opened(settings, superuser) as world:
        yield world
