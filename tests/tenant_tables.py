"""Tenant-owned tables for tests, made as migrations make them: the program starts on no others."""

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from insula.core.rls import create_tenant_table


async def create_table(owner_dsn: str, name: str, *columns: str) -> None:
    """A table ``app.<name>`` with these text columns."""

    def create(connection: sa.Connection) -> None:
        connection.execute(sa.text("SET LOCAL ROLE app_owner"))
        op = Operations(MigrationContext.configure(connection))
        create_tenant_table(op, name, *(sa.Column(column, sa.Text) for column in columns))

    engine = create_async_engine(owner_dsn.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(create)
    finally:
        await engine.dispose()
