"""Where the program's keys are kept: in the database, each wrapped by a master key that the database never sees."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import structlog

from insula.core.db import Database
from insula.core.errors import Unavailable
from insula.core.keyring import PURPOSES, Keyring, Purpose, Version, since
from insula.core.masters import KeysUnreadable, Master

LOOK_SECONDS: Final = 10.0
"""So soon every process knows a new version; a rotation leaves it much longer."""

_READ: Final = "SELECT purpose, active_from, master, wrapped FROM app.key ORDER BY purpose, active_from"
_ADD_FIRST: Final = "SELECT app.add_first_key($1, $2, $3)"

_log = structlog.get_logger("insula.vault")


class Vault:
    """Fills a process's keyring, and keeps it filled. The first process of an installation makes the first keys."""

    def __init__(self, platform: Database, masters: Sequence[Master], keyring: Keyring) -> None:
        self._platform, self._masters, self._keyring = platform, masters, keyring
        self._unwrapped: dict[bytes, bytes] = {}

    async def open(self) -> None:
        """Read the keys, and make those there are none of. Raises KeysUnreadable."""
        async with self._platform.transaction(read_only=True) as db:
            found = await db.driver.fetch(_READ)
            # In one order everywhere: processes that start together wait for each other's rows.
            known = {row["purpose"] for row in found}
            missing = [purpose for purpose in PURPOSES if purpose not in known]
            for purpose in missing:
                master = self._masters[0]
                await db.driver.execute(
                    _ADD_FIRST, purpose, master.name, await master.wrap(master.first(purpose), purpose)
                )
            if missing:
                found = await db.driver.fetch(_READ)  # another process may have been quicker
            await db.commit()
        await self._use(found)

    async def look(self) -> None:
        """Read the keys anew. Raises KeysUnreadable, and leaves the keyring as it was."""
        async with self._platform.transaction(read_only=True) as db:
            found = await db.driver.fetch(_READ)
        await self._use(found)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Open, and look again and again for as long as the block lasts. Raises KeysUnreadable."""
        await self.open()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        """While the database is away, or a new key does not open, the keys of before are good."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (KeysUnreadable, Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                _log.warning("the keys cannot be read anew", cause=repr(error))

    async def _use(self, rows: list[asyncpg.Record]) -> None:
        versions: defaultdict[Purpose, list[Version]] = defaultdict(list)
        for row in rows:
            if row["purpose"] not in PURPOSES:  # of a newer release
                continue
            wrapped = row["wrapped"]
            if wrapped not in self._unwrapped:
                self._unwrapped[wrapped] = await unwrap(self._masters, row)
            versions[row["purpose"]].append(Version(since(row["active_from"]), self._unwrapped[wrapped]))
        if missing := set(PURPOSES) - versions.keys():
            raise KeysUnreadable(f"The database shows no key for {', '.join(sorted(missing))}.")
        self._keyring.use(versions)


async def unwrap(masters: Sequence[Master], row: asyncpg.Record) -> bytes:
    """The key of a row of app.key. Raises KeysUnreadable, which says what would open it."""
    for master in masters:
        if master.name == row["master"]:
            return await master.unwrap(row["wrapped"], row["purpose"])
    raise KeysUnreadable(
        f"The database's keys are wrapped by {row['master']}, and these settings have"
        f" {', '.join(master.name for master in masters)}: name the earlier key in INSULA_SECRET_KEY_PREVIOUS."
    )
