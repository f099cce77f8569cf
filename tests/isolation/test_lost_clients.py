"""A query ends when the client that asked is gone: what is killed leaves no work and no locks behind."""

import asyncio

import asyncpg
import pytest

from insula.provision import LOGINS
from tests.conftest import address

RUNNING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"


@pytest.mark.parametrize("login", [login for login in LOGINS if login != "app_migrator"])
async def test_the_query_of_a_client_that_is_gone_ends(
    login: str, addresses: dict[str, str], database: str, superuser: asyncpg.Connection
) -> None:
    connection = await asyncpg.connect(address(addresses["admin"], login, database))
    process = connection.get_server_pid()
    await connection.execute("SET statement_timeout = 0")
    sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(300)"))
    await asyncio.sleep(0.3)
    assert await superuser.fetchval(RUNNING, process)
    connection.terminate()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await sleeping
    async with asyncio.timeout(60):
        while await superuser.fetchval(RUNNING, process):
            await asyncio.sleep(0.1)
