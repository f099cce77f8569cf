"""What is acknowledged is on disk, and moments are read as they are, whatever a login did to its own defaults."""

from datetime import UTC, datetime

import asyncpg
import pytest
import sqlalchemy as sa

from insula.core.db import Database
from insula.core.queries import Query
from insula.core.schemas import Read
from insula.settings import Settings

CHANGED = {"synchronous_commit": "off", "datestyle": "SQL, DMY", "timezone": "Asia/Kathmandu"}


class _Moment(Read, frozen=True):
    at: datetime


@pytest.mark.attack(15)
async def test_a_login_changes_neither_waiting_for_the_disk_nor_the_writing_of_moments(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    login = await asyncpg.connect(settings.database_url)
    database = Database(settings.database_url, pool_size=1)
    name = await login.fetchval("SELECT quote_ident(current_database())")
    moment = Query(
        sa.select(sa.func.timestamptz("2026-02-01 12:30:00.000120Z", type_=sa.DateTime).label("at")), _Moment
    )
    try:
        for setting, value in CHANGED.items():
            await login.execute(f"ALTER ROLE app_rw IN DATABASE {name} SET {setting} = '{value}'")
        poisoned = await asyncpg.connect(settings.database_url)
        assert await poisoned.fetchval("SHOW datestyle") == "SQL, DMY"
        await poisoned.close()
        await database.open()
        async with database.transaction(read_only=True) as db:
            assert await db.driver.fetchval("SHOW synchronous_commit") == "on"
            found = await moment.one_or_none(db)
        assert found is not None
        assert found.at == datetime(2026, 2, 1, 12, 30, 0, 120, tzinfo=UTC)
        assert found.at.utcoffset() == datetime.now(UTC).utcoffset()
    finally:
        await superuser.execute(f"ALTER ROLE app_rw IN DATABASE {name} RESET ALL")
        await login.close()
        await database.close()
