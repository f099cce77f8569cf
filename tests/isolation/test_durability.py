"""What is acknowledged is on disk, whatever a login did to its own defaults."""

import asyncpg
import pytest

from insula.core.db import Database
from insula.settings import Settings


@pytest.mark.attack(15)
async def test_a_login_cannot_switch_off_waiting_for_the_disk(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    login = await asyncpg.connect(settings.database_url)
    database = Database(settings.database_url, pool_size=1)
    try:
        await login.execute("ALTER ROLE app_rw SET synchronous_commit = off")
        await database.open()
        async with database.transaction(read_only=True) as db:
            assert await db.driver.fetchval("SHOW synchronous_commit") == "on"
    finally:
        await superuser.execute("ALTER ROLE app_rw RESET synchronous_commit")
        await login.close()
        await database.close()
