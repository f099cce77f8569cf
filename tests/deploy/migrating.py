"""A large table that is migrated by the command while clients read and write it, and a watch over who waits for locks."""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import asyncpg
import httpx
import msgspec

from insula.core.ids import to_text, to_uuid
from insula.settings import Settings
from tests.chaos.contenders import Refused
from tests.chaos.ledger import Ledger, Report
from tests.chaos.postbox import Postbox
from tests.deploy.clients import Clients
from tests.deploy.fleet import Fleet
from tests.factories import Member, World
from tests.migrations.expansion import copied, plant

MOST_SECONDS: Final = 2.0
"""What nobody may wait for a lock."""
MOST_LATE_SECONDS: Final = 1.0
"""What a slow machine excuses of it, and no more."""
TENANTS: Final = 40
PER_SECOND: Final = 25
_EVERY_SECONDS: Final = 0.05
_NOTHING_ELSE: Final[dict[str, Any]] = {
    "forgotten": 0,
    "dead_letters": 0,
    "repeated_calls": 0,
    "killed": {},
    "drained_after": 0.0,
}
"""What else the ledger of chaos tells of: nobody is killed here, and no jobs are done."""
_ROWS: Final = """
INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)
SELECT ($1::uuid[])[1 + n % cardinality($1)], ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       'Row ' || n, 'row ' || n, 'R' || n, 'active', '{}', now(), now(), 1
  FROM generate_series(0, $2::integer - 1) AS n
"""
_WAITING: Final = """
SELECT extract(epoch FROM clock_timestamp() - l.waitstart)::float8 AS seconds,
       format('%s for %s of %s', a.usename, l.mode, coalesce(l.relation::regclass::text, l.locktype)) AS whose
  FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE NOT l.granted AND l.waitstart IS NOT NULL AND a.datname = current_database()
 ORDER BY 1 DESC LIMIT 1
"""


class Watch:
    """The longest time for which anybody in the database waited for a lock, seen from outside again and again."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.longest, self.whose = 0.0, "nobody"
        self._seen: dict[str, str] = {}
        self.late = 0.0
        """The longest time for which this machine kept the watch itself waiting: others may have waited as long."""

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait({self._watching})

    async def _look(self) -> None:
        last = time.monotonic()
        while True:
            waits = await self._connection.fetch(_WAITING)
            last, before = time.monotonic(), last
            self.late = max(self.late, last - before - _EVERY_SECONDS)
            for seconds, whose in waits:
                if seconds > self.longest:
                    self.longest, self.whose = seconds, whose
                if seconds > MOST_SECONDS + min(self.late, MOST_LATE_SECONDS):
                    self._seen.setdefault(whose, f"waited for too long: {whose}, {seconds:.2f} s and more")
            await asyncio.sleep(_EVERY_SECONDS)

    def broken(self) -> list[str]:
        return list(self._seen.values())


class Editors(Clients):
    """Of four requests two read, one makes a project, one renames a row that was there; none is asked twice."""

    def __init__(self, client: httpx.AsyncClient, owners: list[Member], ports: list[int], rows: int) -> None:
        super().__init__(client, owners, Postbox())
        self._ports, self._rows, self.failed = ports, rows, 0

    def effects(self, number: int) -> set[str]:
        return {f"c{number}"} if number % 4 < 2 else set()

    async def ask(self, number: int) -> None:
        try:
            await self._ask(number)
        except Refused:
            self.failed += 1
            raise

    async def _ask(self, number: int) -> None:
        turn = number // 4
        row = turn * 7919 % self._rows  # everywhere in the table, and each row once
        owner, place = self._owners[row % TENANTS], f"/projects/{_row_id(row)}"
        name = {"name": f"c{number}"}
        method, path, body, more = (
            ("POST", "/projects", name | {"key": f"C{number}"}, {}),
            ("PATCH", place, name, {"if-match": '"1"'}),
            ("GET", "/projects?limit=20", None, {}),
            ("GET", place, None, {}),
        )[number % 4]
        url = f"http://127.0.0.1:{self._ports[turn % len(self._ports)]}{owner.url(path)}"
        headers = {"authorization": f"Bearer {owner.person.token}", **more}
        began = time.monotonic()
        try:
            answer = await self._client.request(method, url, json=body, headers=headers)
        except httpx.TransportError as error:
            raise Refused(f"{method} {path}: {error!r}") from error
        self.slowest = max(self.slowest, time.monotonic() - began)
        if answer.status_code != (201 if method == "POST" else 200):
            raise Refused(f"{method} {path}: {answer.status_code} {answer.text}")

    async def happened(self, superuser: asyncpg.Connection) -> Counter[str]:
        return Counter(row["name"] for row in await superuser.fetch("SELECT name FROM app.project WHERE name ~ '^c'"))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How it went."""

    report: Report
    watch: Watch

    def broken(self) -> list[str]:
        """Whoever waited for too long, and whatever failed or got lost."""
        return self.watch.broken() + self.report.broken()


class Scene:
    """A table with many rows, API processes, and the command to migrate, with revisions of somebody's own."""

    def __init__(self, settings: Settings, superuser: asyncpg.Connection, folder: Path, rows: int) -> None:
        self._settings, self._superuser, self._folder, self._rows = settings, superuser, folder, rows
        self.log = folder / "migrate.log"

    async def fill(self) -> None:
        world = World(None, self._settings, self._superuser)
        self._owners = [await world.owner() for _ in range(TENANTS)]
        tenants = [to_uuid("org", owner.organization_id) for owner in self._owners]
        await self._superuser.execute(_ROWS, tenants, self._rows, timeout=3600)
        await self._superuser.execute("ANALYZE app.project")

    async def migrated(
        self, revisions: Iterable[Path], watch: Watch, gives_way: Callable[[Watch, Editors, str], bool]
    ) -> Told:
        """Run `insula migrate` with these revisions under load.

        A long read is in its way until ``gives_way`` says so of the watch, the clients and the migration's log. One process
        is restarted on the way, and once more at the end: whoever comes up then finds a schema that is not its own.
        """
        checkout = copied(self._folder / "checkout", ("src", "migrations"))
        plant(checkout / "migrations" / "own", revisions)
        async with (
            Fleet(self._settings, self._folder, apis=3, workers=0) as fleet,
            httpx.AsyncClient(timeout=30) as http,
        ):
            *serving, restarted = fleet.apis
            clients = Editors(http, self._owners, [api.port for api in serving], self._rows)
            ledger = Ledger(clients)
            async with watch, clients.asking(ledger, per_second=PER_SECOND):
                began = time.monotonic()
                async with self._superuser.transaction():
                    await self._superuser.fetch("SELECT FROM app.project LIMIT 1")
                    migration = await self._migrate(checkout)
                    while not gives_way(watch, clients, self.log.read_text()):
                        assert migration.returncode is None, self.log.read_text()
                        await asyncio.sleep(_EVERY_SECONDS)
                await restarted.restart()
                assert await migration.wait() == 0, self.log.read_text()
                seconds = time.monotonic() - began
            await restarted.restart()
        report = ledger.compare(happened=await clients.happened(self._superuser), **_NOTHING_ELSE)
        print(
            f"\n{self._rows:,} rows: migrated in {seconds:.1f} s; {report.acknowledged} requests answered,"
            f" {clients.failed} failed, the slowest in {clients.slowest:.2f} s; the longest wait for a lock"
            f" {watch.longest:.2f} s ({watch.whose}); the watch was late by {watch.late:.2f} s at most"
        )
        return Told(report=report, watch=watch)

    async def _migrate(self, checkout: Path) -> asyncio.subprocess.Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
        owner = str(self._settings.owner_database_url)
        environment = inherited | {"INSULA_OWNER_DATABASE_URL": owner, "PYTHONPATH": str(checkout / "src")}
        command = [sys.executable, "-P", "-m", "insula", "migrate"]
        with self.log.open("wb") as log:
            return await asyncio.create_subprocess_exec(*command, env=environment, cwd=checkout, stdout=log, stderr=log)


def _row_id(row: int) -> str:
    """Of the row that `_ROWS` makes with this number."""
    return to_text("prj", UUID(f"00000000-0000-7000-8000-{row:012x}"))
