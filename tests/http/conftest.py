"""The program with a workshop in it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from insula.settings import Settings
from tests import workshop
from tests.factories import World


@pytest.fixture(scope="session")
async def shop(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    """A world whose program has the routes of tests/workshop.py."""
    async with workshop.opened(settings, superuser) as world:
        yield world
