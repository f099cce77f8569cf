"""The one place that opens transactions."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import msgspec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.pool import NullPool

from insula.core.errors import STATEMENT_GONE, Unavailable, sqlstate_of
from insula.core.journal import Journal
from insula.core.orm import OrmSession
from insula.core.permissions import Facts, Principal
from insula.core.pool import Pool, Pooled
from insula.core.reach import reaching

Driver: TypeAlias = asyncpg.Connection

DEFAULTS: Final = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "client_connection_check_interval": "1s",  # nobody waits for the answer: a killed client's query ends with it
    "search_path": "pg_catalog, pg_temp",  # that of doors: a function that sets none keeps its plans inside and outside
    "temp_file_limit": "1GB",  # of a session; only a superuser may lift it
    "timezone": "UTC",
    "jit": "off",  # to compile a statement takes longer than any of ours; enable_sort alone would make it seem worth it
}
"""What every login has for its sessions."""

ENGINE_URL: Final = "postgresql+asyncpg://"
"""SQLAlchemy's; the driver is given the whole address as its ``dsn``, and understands what stands behind a `?`."""

IN_ORDER: Final = {"enable_sort": "off"}
"""What app_rw has beside that. Each list has an index in its order; the planner, which does not know how many rows an
organization has, would rather read all of them and sort. Where there is no such index it sorts all the same.
"""

BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE; RESET ALL; CLOSE ALL; UNLISTEN *;"
    " SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = '15s'; SET LOCAL lock_timeout = '5s';"
    " SET LOCAL idle_in_transaction_session_timeout = '30s'; SET LOCAL client_connection_check_interval = '1s';"
    " SET LOCAL datestyle = 'ISO'; SET LOCAL timezone = 'UTC'; SELECT app.prove_untouched()"
)
"""One simple-protocol message: nothing prepared, so nothing an earlier transaction could have replaced.

The modes are spelled out, because RESET ALL comes too late for those that a transaction takes from the session. So are
durability, timeouts and how moments are written, because a login may change its own defaults, and RESET ALL returns to
those.
"""
BEGIN_ON_STANDBY: Final = BEGIN.replace("READ WRITE", "READ ONLY")

_ROLLBACK_AND_END: Final = "ROLLBACK; SELECT app.end_session()"

_ROLLBACK_SECONDS: Final = 2.0
LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, crashed, or ended by a timeout that a session had set itself
    asyncpg.TransactionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What the driver raises when a connection is gone."""


def defaults_of(login: str) -> dict[str, str]:
    """The settings that a login begins its sessions with."""
    return DEFAULTS | IN_ORDER if login == "app_rw" else DEFAULTS


class Transaction:
    """One request's or one job's unit of work: one connection, one tenant, one commit."""

    def __init__(self, pooled: Pooled, *, read_only: bool) -> None:
        self.driver = pooled.driver
        self.journal = Journal()
        self.principal: Principal | None = None
        self.facts = Facts()
        self.ask_again: Callable[[], Awaitable[None]] | None = None
        """Asks the door once more, for whoever had to wait. Raises Overtaken. None where what it says cannot change,
        since the caller's row is locked, and where it is the caller who changes it.
        """
        self.operation = ""
        """What it is for: the operationId of a request."""
        self.settled = False
        self.keeps_refusal = False
        """A refusal that must be remembered: commit although the answer is an error."""
        self.spoilt = False
        """The connection lacks what the driver keeps on it: it ends with this transaction."""
        self.rings = False
        """Jobs were committed; the relay would like to know."""
        self._pooled, self._read_only = pooled, read_only
        self._session: AsyncSession | None = None
        self._written: list[Any] = []

    @property
    def session(self) -> AsyncSession:
        """The ORM's view of this transaction; only commands have one."""
        if self._session is None:
            if self._read_only:
                raise RuntimeError("a read-only route asked for an ORM session: read through core/queries.py")
            known = {Journal: self.journal, Pooled: self._pooled}
            self._session = AsyncSession(
                self._pooled.orm, sync_session_class=OrmSession, info=known, expire_on_commit=False, autoflush=False
            )
            self._session.add_all(self._written)
        return self._session

    def adopt(self, row: Any) -> None:
        """Take in a row that was just written without the ORM: what is changed of it from now on will be written too.

        Most are never changed, so the session hears of them when there is another reason to have one.
        """
        make_transient_to_detached(row)
        if self._session is None:
            self._written.append(row)
        else:
            self._session.add(row)

    async def flush(self) -> Driver:
        """The driver's connection, with what the ORM still held, and the row that waits, written first."""
        await self.journal.write_row(self.driver)
        session = self._changed()
        if session is not None:
            await session.flush()
        return self.driver

    def _changed(self) -> AsyncSession | None:
        """The session, if there is something in it to be written."""
        if self._session is None:
            return self.session if any(instance_state(row).modified for row in self._written) else None
        session = self._session
        return session if session.new or session.dirty or session.deleted else None

    async def commit(self) -> None:
        """Write the journal and commit; a commit that did not happen raises."""
        driver = self.driver if self._changed() is None else await self.flush()
        self.rings |= bool(self.journal.tasks)
        await self.journal.write(driver)
        if self.ask_again is not None:
            await self.ask_again()
        # COMMIT in a failed transaction answers ROLLBACK without an error.
        if await driver.execute("COMMIT") != "COMMIT":
            self.settled = True
            raise Unavailable(private="COMMIT was answered with ROLLBACK")
        self.settled = True
        self.journal.committed()

    async def abandon(self) -> None:
        """Undo everything now, if it still can be; what is left to do is done when the transaction ends."""
        with suppress(*LOST, TimeoutError):
            async with asyncio.timeout(_ROLLBACK_SECONDS):
                await self.driver.execute("ROLLBACK")
            self.settled = True

    def detach(self) -> Pooled:
        """Let go of the ORM's objects; returns the connection for the next transaction.

        Nothing is sent: under AUTOCOMMIT the dialect's own rollback is empty.
        """
        if self._session is not None:
            self._session.sync_session.close()
        return self._pooled

    async def rollback(self) -> None:
        """Undo everything; a spoilt connection's backend ends with it, also where a pooler stands between."""
        await self.driver.execute(_ROLLBACK_AND_END if self.spoilt else "ROLLBACK")
        self.settled = True


class Database:
    """One login's connections, and the transactions on them."""

    def __init__(self, url: str, *, pool_size: int = 8, old_pgbouncer: bool = False, standby: bool = False) -> None:
        self.login = urlsplit(url).username or ""
        self.size = pool_size
        """The most connections this login may hold."""
        self.waiting = 0
        """Transactions that wait for a connection at this moment."""
        self._standby, self._url = standby, url
        self._pool = Pool(_engine(url, old_pgbouncer=old_pgbouncer), pool_size)

    async def open(self) -> Self:
        """Connect. Raises Unreachable, at once, when the server is not there or lets us not in."""
        with reaching(self._url):
            await self._pool.release(await self._pool.acquire())
        return self

    async def close(self) -> None:
        await self._pool.close()

    @property
    def in_use(self) -> int:
        """Connections handed out at this moment."""
        return self._pool.in_use

    def transaction(self, *, read_only: bool = False) -> "Block":
        """Begin; the caller commits. Whatever was not committed is rolled back, also under cancellation.

        ``read_only`` refuses an ORM session. Raises Unavailable when there is no server.
        """
        return Block(partial(self._begin, read_only), self._end)

    async def _begin(self, read_only: bool) -> Transaction:
        failure: Exception | None = None
        for _ in range(self.size + 1):  # after a restart of the server every pooled connection is stale
            self.waiting += 1
            try:
                transaction = await self._acquire(read_only)
            except (*LOST, DBAPIError, TimeoutError) as error:
                raise Unavailable(private=f"no connection: {error!r}") from error
            finally:
                self.waiting -= 1
            try:
                await transaction.driver.execute(BEGIN_ON_STANDBY if self._standby else BEGIN)
            except BaseException as error:
                transaction.driver.terminate()
                await self._end(transaction)
                if not isinstance(error, LOST):
                    raise
                failure = error
            else:
                return transaction
        raise Unavailable(private=f"no live connection: {failure!r}")

    async def _acquire(self, read_only: bool) -> Transaction:
        return Transaction(await self._pool.acquire(), read_only=read_only)

    async def _end(self, transaction: Transaction) -> None:
        driver = transaction.driver
        try:
            if not transaction.settled and not driver.is_closed():
                async with asyncio.timeout(_ROLLBACK_SECONDS):  # wait_for may lose a cancellation
                    await transaction.rollback()
        except BaseException as error:
            driver.terminate()
            if not isinstance(error, Exception):
                raise
        finally:
            await self._pool.release(transaction.detach())  # also when cancelled: its place must not be lost


class Block:
    """A transaction as a context manager: a class, since every request enters one and generators cost twice as much."""

    def __init__(
        self, begin: Callable[[], Awaitable[Transaction]], end: Callable[[Transaction], Awaitable[None]]
    ) -> None:
        self._begin, self._end = begin, end

    async def __aenter__(self) -> Transaction:
        self._transaction = await self._begin()
        return self._transaction

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        transaction = self._transaction
        try:
            if isinstance(error, asyncio.CancelledError):
                # Cancelled in the middle of a protocol exchange: no state of this connection can be trusted.
                transaction.driver.terminate()
            elif isinstance(error, Exception):
                transaction.spoilt = sqlstate_of(error) == STATEMENT_GONE
        finally:
            await self._end(transaction)


def _engine(url: str, *, old_pgbouncer: bool) -> AsyncEngine:
    options: dict[str, Any] = {"dsn": url, "timeout": 10}
    if old_pgbouncer:
        options |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        }
    return create_async_engine(
        ENGINE_URL,
        # The dialect sends no BEGIN of its own: ours proves the connection first.
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # an error's text is logged, and values are people's
        poolclass=NullPool,  # core/pool.py keeps the connections
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        connect_args=options,
    )
