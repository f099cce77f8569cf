"""Tables for tests, made as migrations make them, in a schema said to be of a later release: it has tables that ours has not."""

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from insula.core.rls import create_tenant_table

LATER = "9999 own_9999"
"""In every branch there may be: a program whose own branch is not named here takes the schema for one that is behind."""


async def create_table(owner_dsn: str, name: str, *columns: str) -> None:
    """A table ``app.<name>`` with these text columns."""

    def create(connection: sa.Connection) -> None:
        connection.execute(sa.text("SET LOCAL ROLE app_owner"))
        op = Operations(MigrationContext.configure(connection))
        create_tenant_table(op, name, *(sa.Column(column, sa.Text) for column in columns))
        connection.execute(sa.text(f"COMMENT ON SCHEMA app IS '{LATER}'"))

    engine = create_async_engine(owner_dsn.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(create)
    finally:
        await engine.dispose()
