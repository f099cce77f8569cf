"""A program to measure: embedded servers, some data, requests without a network, twins in alternating rounds."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import msgspec

from insula import app as program
from insula.core.http.access_log import AccessLog
from insula.core.ids import new_id, to_uuid
from insula.core.logs import configure_logs
from insula.embedded.postgres import EmbeddedPostgres
from insula.embedded.valkey import EmbeddedValkey
from insula.provision import LOGINS, migrate, provision
from insula.settings import Settings
from tests.benchmarks import twins
from tests.factories import Member, World, settings_for

Call = Callable[[int], Awaitable["Answer"]]
"""A request of the worker with this number."""
DATABASE = "bench"


FEW = 10
"""Requests in a round, where it is only to be seen that they work."""


class Answer(msgspec.Struct):
    """What a request was answered with."""

    status: int = 0
    headers: dict[bytes, bytes] = {}
    body: bytes = b""


class Bench(msgspec.Struct):
    """Everything a benchmark works with."""

    app: Any
    world: World
    admin: str
    settings: Any
    state: Any
    """Of the program."""

    def requester(
        self,
        members: list[Member],
        method: str,
        path: str,
        body: Callable[[], Any] | None = None,
        key: str | None = None,
    ) -> Call:
        """A coroutine function that makes one request in process and checks that it succeeded.

        Each worker is one of the members. ``key`` names a header that carries a fresh key with every request.
        """
        callers = [(member.url(path), _headers(member)) for member in members]

        async def call(worker: int) -> Answer:
            url, headers = callers[worker % len(callers)]
            content = b""
            if body is not None:
                content = json.dumps(body()).encode()
                length = b"%d" % len(content)
                headers = [*headers, (b"content-type", b"application/json"), (b"content-length", length)]
            if key is not None:
                headers = [*headers, (key.encode(), uuid4().hex.encode())]
            answer = Answer()

            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": content, "more_body": False}

            async def send(message: dict[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    answer.status, answer.headers = message["status"], dict(message["headers"])
                else:
                    answer.body += message["body"]

            await self.app(_scope(method, url, headers), receive, send)
            assert answer.status < 300, f"{method} {url}: {answer.status} {answer.body!r}"
            return answer

        return call


def _scope(method: str, url: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": url,
        "raw_path": url.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("203.0.113.7", 1),
        "server": ("insula.test", 80),
        "scheme": "http",
        "root_path": "",
        "state": {},
    }


def _headers(member: Member) -> list[tuple[bytes, bytes]]:
    return [
        (b"authorization", f"Bearer {member.person.token}".encode()),
        (b"host", b"insula.test"),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
    ]


@asynccontextmanager
async def running(admin: str, redis: str) -> AsyncIterator[Bench]:
    """The program with the twins' routes added."""
    settings = settings_at(admin, redis)
    configure_logs("error", json=True)
    program.FEATURES = (*program.FEATURES, twins.FEATURE)
    litestar = program.create_litestar(settings)
    async with litestar.lifespan():
        superuser = await asyncpg.connect(admin, database=DATABASE)
        try:
            app = AccessLog(litestar)
            yield Bench(app, World(app, settings, superuser), admin, settings, litestar.state)
        finally:
            await superuser.close()


def settings_at(admin: str, redis: str) -> Settings:
    """With these servers, eight connections and no limit that a benchmark would reach."""

    def url(login: str) -> str:
        return f"postgresql://{login}:{login}@{admin.rsplit('@', 1)[1].split('/', 1)[0]}/{DATABASE}"

    return settings_for(
        database_url=url("app_rw"),
        identity_database_url=url("app_identity"),
        platform_database_url=url("app_platform"),
        owner_database_url=url("app_migrator"),
        redis_url=redis,
        log_level="error",
        pool_size=8,
        limit_projects=10_000_000,
        rate_per_minute=10_000_000,
        rate_organization_per_minute=10_000_000,
        rate_anonymous_per_minute=10_000_000,
        rate_sign_in_per_minute=10_000_000,
    )


def servers() -> tuple[EmbeddedPostgres, EmbeddedValkey]:
    """A Postgres as `insula up` runs it, and a Valkey."""
    folder = Path(tempfile.mkdtemp(prefix="insula-bench-"))
    return EmbeddedPostgres(folder / "postgres"), EmbeddedValkey(folder / "valkey")


async def prepare(admin: str) -> None:
    await provision(admin, DATABASE, {login: login for login in LOGINS})
    await migrate(f"postgresql://app_migrator:app_migrator@{admin.rsplit('@', 1)[1].split('/', 1)[0]}/{DATABASE}")


async def two_owners(bench: Bench) -> list[Member]:
    """One organization alone may hold half of a process's connections."""
    return [await bench.world.owner() for _ in range(2)]


async def plant(superuser: asyncpg.Connection, organization: str, projects: int) -> None:
    """So many projects for an organization; the planner knows of them, as it soon would of anybody's."""
    rows = [(to_uuid("prj", new_id("prj")), f"Project {n}", f"project {n}", f"P{n}") for n in range(projects)]
    await superuser.execute(
        "INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)"
        " SELECT $1, r.id, r.name, r.norm, r.key, 'active', '{\"tags\": \"x\"}', now(), now(), 1"
        " FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) AS r (id, name, norm, key)",
        to_uuid("org", organization),
        *(list(column) for column in zip(*rows, strict=True)),
    )
    await superuser.execute("ANALYZE app.project")


class Sample(NamedTuple):
    """Microseconds per call in one round: by the clock, and of our process."""

    wall: float
    cpu: float


Samples = dict[str, list[Sample]]


def repeated(usual: int, scale: int) -> int:
    """So many times the usual; at scale 0 once, which shows that it runs and nothing else."""
    return usual * scale or 1


async def compare(calls: dict[str, Call], *, rounds: int, size: int, at_once: int = 8) -> Samples:
    """Run the calls in alternating rounds; returns a sample of each per round.

    As many at once as the process has connections, or it would stand idle while all of them wait for Postgres.
    """
    for call in calls.values():
        await _burst(call, min(size, 50) * 2, at_once)
    samples: Samples = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            await _burst(call, size, at_once)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            samples[name].append(Sample(*(seconds / size * 1e6 for seconds in spent)))
    return samples


async def _burst(call: Call, count: int, at_once: int) -> None:
    remaining = iter(range(count))

    async def work(worker: int) -> None:
        for _ in remaining:
            await call(worker)

    await asyncio.gather(*(work(worker) for worker in range(at_once)))


def report(title: str, samples: Samples, goals: dict[str, float]) -> bool:
    """Print the table and the ratios: how many times a twin's time ours, the first, has; whether the goals are met.

    A ratio is the median over the rounds, each of which compares what ran one after the other: a slow moment of the
    machine slows both. Where others use it as well, the CPU time of this process tells more than the clock.
    """
    print(f"\n{title}\n  {'':<28}{'us/call':>10}{'CPU us':>10}")
    for name, found in samples.items():
        wall, cpu = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"  {name:<28}{wall:>10.0f}{cpu:>10.0f}")
    met = True
    ours = next(iter(samples.values()))
    for twin, goal in goals.items():
        rounds = list(zip(samples[twin], ours, strict=True))
        ratio = statistics.median(its.wall / our.wall for its, our in rounds)
        by_cpu = statistics.median(its.cpu / our.cpu for its, our in rounds)
        met &= ratio >= goal
        verdict = "ok" if ratio >= goal else "MISSED"
        print(f"  {ratio:.2f}x {twin} (goal {goal}x) {verdict}; by CPU {by_cpu:.2f}x")
    return met
