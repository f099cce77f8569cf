"""How long attacks last, and the program with a workshop in it; the options are known where this folder is named."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from insula.settings import Settings
from tests import workshop
from tests.factories import World


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--duplicates", type=int, default=40, help="requests with one Idempotency-Key (long form: 200)")
    parser.addoption("--keys", type=int, default=3, help="keys they come with (long form: 100)")
    parser.addoption("--flood-seconds", type=int, default=3, help="of 500 sign-ins each (long form: 60)")
    parser.addoption("--timing-samples", type=int, help="requests of each kind, whose medians are 5 ms apart at most")


@pytest.fixture(scope="session")
async def shop(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    """A world whose program has the routes of tests/workshop.py."""
    async with workshop.opened(settings, superuser) as world:
        yield world
