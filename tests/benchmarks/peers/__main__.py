"""`./insula python -m tests.benchmarks.peers`: ours beside what others would have been built with, as ratios."""

import argparse
import asyncio
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import psutil
import uvloop

from insula.embedded.postgres import EmbeddedPostgres
from tests.benchmarks.harness import DATABASE, prepare, servers, settings_at
from tests.benchmarks.peers import data
from tests.benchmarks.peers.contestants import (
    AUTH_DATABASE,
    BETTER_AUTH,
    FASTAPI,
    FASTIFY,
    NINJA,
    OURS,
    Contestant,
    Ground,
    all_running,
    database,
    make_auth_database,
    sign_up,
)
from tests.benchmarks.peers.install import install
from tests.benchmarks.peers.measure import Asked, Course, Requests, report
from tests.benchmarks.peers.prove import alike, asks_the_database, cast_of
from tests.benchmarks.peers.raw import Raw
from tests.factories import World

_ROUNDS: Final = 6
_GET_SESSION: Final = "better-auth, get-session"
_IN_ROUTE: Final = "better-auth, in a route"


class Race:
    """Everybody running, and what is asked of them part by part."""

    def __init__(self, contestants: dict[str, Contestant], course: Course, raw: Raw) -> None:
        self._contestants, self._course, self._raw = contestants, course, raw
        self.parts = {"page": self._page, "single": self._single, "create": self._create, "session": self._session}

    async def _page(self) -> bool:
        found = await self._course.run(self._twins(data.pages))
        return report("Page of 20 projects", found, {FASTIFY: 1.0, FASTAPI: 7.0, NINJA: 5.0})

    async def _single(self) -> bool:
        return report("One project", await self._course.run(self._twins(data.singles)), {})

    async def _create(self) -> bool:
        asked = [*self._twins(data.creations), Asked(Raw.name, self._raw, _nothing)]
        title = "A project with its event, job and stored answer"
        return report(title, await self._course.run(asked), {Raw.name: 0.4})

    async def _session(self) -> bool:
        peer = self._contestants[BETTER_AUTH]
        asked = [
            *self._twins(data.sessions),
            Asked(_GET_SESSION, peer, lambda _, caller: data.with_cookie("/api/auth/get-session", caller)),
            Asked(_IN_ROUTE, peer, lambda _, caller: data.with_cookie("/me", caller)),
        ]
        return report("Who a session belongs to", await self._course.run(asked), {_GET_SESSION: 5.0})

    def _twins(self, requests: Requests) -> list[Asked]:
        return [Asked(name, self._contestants[name], requests) for name in (OURS, FASTIFY, FASTAPI, NINJA)]


def _nothing(_paths: data.Paths, _caller: data.Caller) -> Iterator[bytes]:
    """pgbench has its own."""
    return itertools.repeat(b"")


async def main(only: list[str], rounds: int, postgres: EmbeddedPostgres, redis: str) -> bool:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    installed, folder, admin = install(), postgres.folder.parent, postgres.dsn()
    await prepare(admin)
    await make_auth_database(admin)
    settings = settings_at(admin, redis)
    superuser = await asyncpg.connect(admin, database=DATABASE)
    world = World(httpx.Response, settings, superuser)
    callers = await data.people(world)
    cast = await cast_of(world, callers)
    met = True
    print(f"This machine has {os.cpu_count()} cores and was at a load of {os.getloadavg()[0]:.1f} when this began.")
    async with all_running(Ground(installed, settings, admin, folder)) as contestants:
        await sign_up(contestants[BETTER_AUTH], [*callers, cast["viewer"]])
        await asks_the_database(contestants[BETTER_AUTH], cast["viewer"], database(admin, AUTH_DATABASE))
        await alike([contestants[name] for name in (OURS, FASTIFY, FASTAPI, NINJA)], cast, superuser)
        course = Course(callers, _postmaster(postgres.data), rounds)
        race = Race(contestants, course, Raw(admin, folder, callers))
        for name, part in race.parts.items():
            if not only or name in only:
                met &= await part()
    await superuser.close()
    return met or not rounds


def _postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postmaster.pid").read_text().splitlines()[0]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="part", help="page, single, create, session; all when none is named")
    parser.add_argument(
        "--rounds", type=int, default=_ROUNDS, help=f"{_ROUNDS} take some three minutes; 0 only asks each"
    )
    options = parser.parse_args()
    postgres, valkey = servers()
    try:
        with postgres, valkey:
            met = uvloop.run(main(options.only, options.rounds, postgres, valkey.url))
    finally:
        shutil.rmtree(postgres.folder.parent, ignore_errors=True)
    sys.exit(0 if met else 1)
