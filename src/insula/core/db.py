"""The one place that opens transactions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import msgspec
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from insula.core.errors import Unavailable
from insula.core.journal import Journal
from insula.core.permissions import Facts, Principal

Driver: TypeAlias = asyncpg.Connection

BEGIN: Final = (
    "BEGIN; RESET ALL; CLOSE ALL; UNLISTEN *;"
    " SELECT pg_catalog.pg_advisory_unlock_all(), app.prove_untouched()"
)
"""One simple-protocol message: nothing prepared, so nothing an earlier transaction could have replaced."""

_ROLLBACK_SECONDS: Final = 2.0
_LOST: Final = (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError,
                asyncpg.InternalClientError, asyncpg.CannotConnectNowError, OSError)


class Transaction:
    """One request's or one job's unit of work: one connection, one tenant, one commit."""

    def __init__(self, driver: Driver, connection: AsyncConnection | None) -> None:
        self.driver = driver
        self.journal = Journal()
        self.principal: Principal | None = None
        self.facts = Facts()
        self.settled = False
        self.keeps_refusal = False
        """A refusal that must be remembered: commit although the answer is an error."""
        self.queued = False
        """Jobs were committed; the relay would like to know."""
        self._connection = connection
        self._session: AsyncSession | None = None

    @property
    def session(self) -> AsyncSession:
        """The ORM's view of this transaction; only commands have one."""
        if self._session is None:
            if self._connection is None:
                raise RuntimeError("a read-only route asked for an ORM session: read through core/queries.py")
            self._session = AsyncSession(self._connection, expire_on_commit=False, autoflush=False)
        return self._session

    async def flush(self) -> Driver:
        """The driver's connection, with what the ORM still held written first."""
        if self._session is not None:
            await self._session.flush()
        return self.driver

    async def commit(self) -> None:
        """Write the journal and commit; a commit that did not happen raises."""
        driver = await self.flush()
        self.queued = bool(self.journal.tasks)
        await self.journal.write(driver)
        # COMMIT in a failed transaction answers ROLLBACK without an error.
        if await driver.execute("COMMIT") != "COMMIT":
            self.settled = True
            raise Unavailable(private="COMMIT was answered with ROLLBACK")
        self.settled = True

    def detach(self) -> AsyncConnection | None:
        """Let go of the ORM's objects; returns SQLAlchemy's connection, which its pool wants back."""
        if self._session is not None:
            self._session.expunge_all()
        return self._connection

    async def rollback(self) -> None:
        """Undo everything."""
        await self.driver.execute("ROLLBACK")
        self.settled = True


class Database:
    """One login's connections: a plain asyncpg pool for reads, SQLAlchemy's for commands."""

    def __init__(self, url: str, *, pool_size: int = 8, old_pgbouncer: bool = False) -> None:
        self._url = url
        self.login = urlsplit(url).username or ""
        self.waiting = 0
        """Transactions that wait for a connection at this moment."""
        self._size = pool_size
        cache: dict[str, Any] = {"statement_cache_size": 0} if old_pgbouncer else {}
        self._driver_options = cache
        self._pool: asyncpg.Pool | None = None
        adapter = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""} if cache else {}
        self._engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            # The dialect sends no BEGIN of its own: ours proves the connection first.
            isolation_level="AUTOCOMMIT",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_reset_on_return=None,
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
            connect_args=cache | adapter | {"timeout": 10},
        )

    async def open(self) -> Self:
        """Connect; refuses at once when the server is not there."""
        self._pool = await asyncpg.create_pool(
            self._url, min_size=1, max_size=self._size, timeout=10, reset=_leave_untouched, **self._driver_options
        )
        return self

    async def close(self) -> None:
        await self._engine.dispose()
        if self._pool is not None:
            await self._pool.close()

    @property
    def in_use(self) -> int:
        """Connections handed out at this moment."""
        idle = self._pool.get_idle_size() if self._pool else 0
        size = self._pool.get_size() if self._pool else 0
        pool: Any = self._engine.pool
        return int(pool.checkedout()) + size - idle

    @property
    def size(self) -> int:
        """The most connections this login may hold, both pools together."""
        return 2 * self._size

    @asynccontextmanager
    async def transaction(self, *, read_only: bool = False) -> AsyncIterator[Transaction]:
        """Begin; the caller commits. Whatever was not committed is rolled back, also under cancellation.

        ``read_only`` takes the cheap connection, without an ORM. Raises Unavailable when there is no server.
        """
        transaction = await self._begin(read_only)
        try:
            yield transaction
        except asyncio.CancelledError:
            # Cancelled in the middle of a protocol exchange: no state of this connection can be trusted.
            transaction.driver.terminate()
            raise
        finally:
            await self._end(transaction)

    async def _begin(self, read_only: bool) -> Transaction:
        failure: Exception | None = None
        for _ in range(self._size + 1):  # after a restart of the server every pooled connection is stale
            self.waiting += 1
            try:
                transaction = await self._acquire(read_only)
            except (*_LOST, TimeoutError, PoolTimeout) as error:
                raise Unavailable(private=f"no connection: {error!r}") from error
            finally:
                self.waiting -= 1
            try:
                await transaction.driver.execute(BEGIN)
            except BaseException as error:
                transaction.driver.terminate()
                await self._end(transaction)
                if not isinstance(error, _LOST):
                    raise
                failure = error
            else:
                return transaction
        raise Unavailable(private=f"no live connection: {failure!r}")

    async def _acquire(self, read_only: bool) -> Transaction:
        if read_only:
            if self._pool is None:
                raise RuntimeError("the database is not open")
            return Transaction(await self._pool.acquire(timeout=10), None)
        connection = await self._engine.connect()
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        return Transaction(driver, connection)

    async def _end(self, transaction: Transaction) -> None:
        driver = transaction.driver
        if not transaction.settled and not driver.is_closed():
            try:
                await asyncio.wait_for(transaction.rollback(), _ROLLBACK_SECONDS)
            except BaseException as error:
                driver.terminate()
                if not isinstance(error, Exception):
                    raise
        await asyncio.shield(self._release(transaction))

    async def _release(self, transaction: Transaction) -> None:
        connection = transaction.detach()
        if connection is None:
            assert self._pool is not None
            await self._pool.release(transaction.driver)
            return
        if transaction.driver.is_closed():
            await connection.invalidate()
        await connection.close()


async def _leave_untouched(connection: Driver) -> None:
    """The pool would send its own reset, one round trip per request; BEGIN carries ours."""
