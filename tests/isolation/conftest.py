"""A database of the isolation tests' own: they break its schema and run hostile SQL in it."""

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.conftest import clone


@pytest.fixture(scope="session")
async def broken(addresses: dict[str, str]) -> AsyncIterator[str]:
    """The name of a database whose schema tests may break, each in a transaction that it rolls back."""
    name = f"insula_broken_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    yield name


@pytest.fixture
async def breaker(addresses: dict[str, str], broken: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's transaction in that database; whatever it does is undone."""
    connection = await asyncpg.connect(addresses["admin"], database=broken)
    try:
        await connection.execute("BEGIN")
        yield connection
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()
