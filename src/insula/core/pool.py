"""Connections that stay open between transactions, each as the driver knows it and as SQLAlchemy does."""

import asyncio
from typing import Final, TypeAlias

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Driver: TypeAlias = asyncpg.Connection

_PATIENCE_SECONDS: Final = 10.0


class Pooled(msgspec.Struct, frozen=True):
    """One connection: ``driver`` for statements of our own, ``orm`` for sessions on the same."""

    driver: Driver
    orm: AsyncConnection

    async def discard(self) -> None:
        """Close what nobody may use again."""
        await self.orm.invalidate()
        await self.orm.close()


class Pool:
    """At most ``size`` connections; the one used last is used next, so that few stay warm."""

    def __init__(self, engine: AsyncEngine, size: int) -> None:
        self._engine = engine
        self._idle: list[Pooled] = []
        self._places = asyncio.Semaphore(size)
        self.in_use = 0
        """Connections handed out at this moment."""

    async def acquire(self) -> Pooled:
        """A connection that was open when it was last seen. Raises TimeoutError when none becomes free."""
        if self._places.locked():
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._places.acquire()
        else:
            await self._places.acquire()
        try:
            pooled = await self._idle_or_new()
        except BaseException:
            self._places.release()
            raise
        self.in_use += 1
        return pooled

    async def release(self, pooled: Pooled) -> None:
        """Take a connection back; one that was closed leaves its place to a new one."""
        self.in_use -= 1
        try:
            if pooled.driver.is_closed():
                await asyncio.shield(pooled.discard())
            else:
                self._idle.append(pooled)
        finally:
            self._places.release()

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            await self._idle.pop().orm.close()
        await self._engine.dispose()

    async def _idle_or_new(self) -> Pooled:
        while self._idle:
            pooled = self._idle.pop()
            if not pooled.driver.is_closed():
                return pooled
            await pooled.discard()
        orm = await self._engine.connect()
        driver = (await orm.get_raw_connection()).driver_connection
        assert driver is not None
        return Pooled(driver, orm)
