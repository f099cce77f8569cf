"""New keys for a running installation, without a request failing over it."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from insula.core.keyring import Purpose
from insula.core.masters import Master
from insula.core.mendable import Mendable
from insula.core.reach import reaching
from insula.core.vault import unwrap
from insula.settings import load_masters, load_owner_database_url

PEPPER: Final[tuple[Purpose, ...]] = ("credential",)
DATA_KEYS: Final[tuple[Purpose, ...]] = ("mailed_token", "cursor", "pseudonym")
LEAD: Final = timedelta(minutes=5)
"""Until a new version is used: every process knows it by then, and its machine's clock may be wrong by minutes."""

_POLL_SECONDS: Final = 0.2

_ADD: Final = (
    "INSERT INTO app.key (purpose, active_from, master, wrapped) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
)
_ACTIVE_FROM: Final = "SELECT date_trunc('milliseconds', clock_timestamp() + $1)"
_NEWEST: Final = """
SELECT DISTINCT ON (purpose) purpose, active_from, master, wrapped FROM app.key
 WHERE purpose = any($1) ORDER BY purpose, active_from DESC
"""
_UNFINISHED: Final = "SELECT EXISTS (SELECT FROM app.door_key WHERE previous_ipad IS NOT NULL)"

# Every transaction holds the lock of its own virtual id, which everybody may see: CREATE INDEX CONCURRENTLY waits so.
# Those of other databases have no context of ours, and may take hours: dumps do.
_UNDER_WAY: Final = """
SELECT l.virtualtransaction FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid()
   AND a.datname = current_database()
"""


class RotationError(Mendable):
    """The rotation did not begin, or did not end: nothing is lost, and it can be tried again."""


async def rotate(key: str, environment: Mapping[str, str], lead: float) -> str:
    """Replace one of the keys that `insula rotate` names; returns what there is to tell.

    The door's key is the database's own, all others are wrapped: those need the master key too. Raises RotationError
    and SettingsError.
    """
    owner_url = load_owner_database_url(environment)
    if key == "door-key":
        seconds = await rotate_door_key(owner_url)
        return f"The door signs with a new key; the old one was forgotten after {seconds:.1f} s."
    masters = load_masters(environment)
    if key == "master-key":
        count = await rewrap(owner_url, masters)
        return f"{count} keys were wrapped anew, by {masters[0].name}; no process needs another master key."
    purposes = PEPPER if key == "pepper" else DATA_KEYS
    active_from = await rotate_keys(owner_url, masters, purposes, timedelta(seconds=lead))
    made = "A new pepper is" if key == "pepper" else "New data keys are"
    return f"{made} used from {active_from:%Y-%m-%d %H:%M:%S} UTC on."


async def rotate_door_key(owner_url: str, *, patience: float = 120.0) -> float:
    """Sign with a new key, and forget the old one when nobody can still need it. Returns the seconds that took.

    Transactions that began before keep what the old key signed. Raises RotationError when one of them does not end
    within ``patience`` seconds. A rotation that was interrupted is ended first.
    """
    with reaching(owner_url):
        connection = await asyncpg.connect(owner_url)
    started = time.monotonic()
    try:
        if await connection.fetchval(_UNFINISHED):
            await _forget(connection, started + patience)
        await connection.execute("SELECT app.rotate_door_key()")
        await _forget(connection, started + patience)
    finally:
        await connection.close()
    return time.monotonic() - started


async def require_one_door_key(owner_url: str) -> None:
    """Raises RotationError while the door believes two keys."""
    with reaching(owner_url):
        connection = await asyncpg.connect(owner_url)
    try:
        if await connection.fetchval(_UNFINISHED):
            raise RotationError("a rotation is under way or was interrupted: what the key of before signed is believed")
    finally:
        await connection.close()


async def rotate_keys(
    owner_url: str, masters: Sequence[Master], purposes: Sequence[Purpose], lead: timedelta = LEAD
) -> datetime:
    """Give these keys a new version; returns from when on it is used: ``lead`` from when it is stored.

    What was made with the version of before stays good. Housekeeping forgets that version when nothing alive needs it:
    for credentials, when the last of them has ended. A new version is wrapped by the master key that wrapped the one
    before, which every process has. Raises RotationError while an earlier rotation is still to begin, KeysUnreadable.
    """
    with reaching(owner_url):
        connection = await asyncpg.connect(owner_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE app.key IN EXCLUSIVE MODE")
            latest = await connection.fetchval(
                "SELECT max(active_from) FROM app.key WHERE purpose = any($1) AND active_from > now()", purposes
            )
            if latest is not None:
                raise RotationError(f"another rotation begins at {latest:%Y-%m-%d %H:%M:%S} UTC")
            wrapping = dict.fromkeys(purposes, masters[0])
            for row in await connection.fetch(_NEWEST, purposes):
                await unwrap(masters, row)
                wrapping[row["purpose"]] = next(master for master in masters if master.name == row["master"])
            made = [
                (purpose, master, await master.wrap(secrets.token_bytes(32), purpose))
                for purpose, master in wrapping.items()
            ]
            # Not before: a service may take longer over it than what is left of the lead would bear.
            active_from: datetime = await connection.fetchval(_ACTIVE_FROM, lead)
            for purpose, master, wrapped in made:
                await connection.execute(_ADD, purpose, active_from, master.name, wrapped)
    finally:
        await connection.close()
    return active_from


async def rewrap(owner_url: str, masters: Sequence[Master]) -> int:
    """Wrap all keys with the first master; returns how many were wrapped by another. Raises KeysUnreadable.

    No key changes, so no process notices; each reads what either master has wrapped while it has both.
    """
    with reaching(owner_url):
        connection = await asyncpg.connect(owner_url)
    try:
        async with connection.transaction():
            rows = await connection.fetch(
                "SELECT purpose, active_from, master, wrapped FROM app.key WHERE master <> $1 FOR UPDATE",
                masters[0].name,
            )
            for row in rows:
                wrapped = await masters[0].wrap(await unwrap(masters, row), row["purpose"])
                done = await connection.execute(
                    "UPDATE app.key SET master = $3, wrapped = $4 WHERE purpose = $1 AND active_from = $2",
                    row["purpose"],
                    row["active_from"],
                    masters[0].name,
                    wrapped,
                )
                assert done == "UPDATE 1", done  # under forced row security nothing is an error
    finally:
        await connection.close()
    return len(rows)


async def _forget(connection: asyncpg.Connection, until: float) -> None:
    waited_for = {row[0] for row in await connection.fetch(_UNDER_WAY)}
    while waited_for:
        if time.monotonic() > until:
            raise RotationError(
                f"{len(waited_for)} transactions of before go on; both keys are good until you run this again"
            )
        await asyncio.sleep(_POLL_SECONDS)
        waited_for &= {row[0] for row in await connection.fetch(_UNDER_WAY)}
    await connection.execute("SELECT app.forget_previous_door_key()")
