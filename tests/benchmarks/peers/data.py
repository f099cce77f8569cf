"""Who calls, and what they ask for: the same people, organizations and projects for everybody."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import msgspec

from insula.core.ids import new_id, to_text, to_uuid
from tests.benchmarks.harness import plant
from tests.factories import Member, World

ORGANIZATIONS: Final = 2
AT_ONCE: Final = 12
_PROJECTS: Final = 1000
_SESSION: Final = """
INSERT INTO app.credential (id, kind, hash, user_id, expires_at) VALUES ($1, 'session', $2, $3, now() + interval '1 day')
"""
_numbers = itertools.count(1)


class Caller(msgspec.Struct):
    """A member with a session, and some projects of the organization."""

    member: Member
    projects: list[UUID]
    cookie: str = ""
    """Of better-auth's session."""

    @property
    def tenant(self) -> UUID:
        return to_uuid("org", self.member.organization_id)


async def people(world: World) -> list[Caller]:
    """A caller for every connection, evenly of each organization."""
    callers = []
    for _ in range(ORGANIZATIONS):
        owner = await world.owner()
        await plant(world.superuser, owner.organization_id, _PROJECTS)
        tenant = to_uuid("org", owner.organization_id)
        found = await world.superuser.fetch("SELECT id FROM app.project WHERE tenant_id = $1 LIMIT 50", tenant)
        projects = [UUID(int=row[0].int) for row in found]
        others = [await world.member(owner.organization_id, "member") for _ in range(AT_ONCE // ORGANIZATIONS - 1)]
        callers += [Caller(member, projects) for member in (owner, *others)]
    for caller in callers:
        await known_to_twins(world.superuser, caller.member)
    await world.superuser.execute("ANALYZE")
    return callers


async def known_to_twins(superuser: asyncpg.Connection, member: Member) -> None:
    """The same token once more: they know its SHA-256, we a keyed hash."""
    token = member.person.token
    hashed = hashlib.sha256(token.encode()).digest()
    await superuser.execute(_SESSION, to_uuid("crd", new_id("crd")), hashed, to_uuid("usr", member.person.id))


class Ours:
    """The program's own paths and ids."""

    ready, me = "/readyz", "/v1/me"

    def organization(self, caller: Caller) -> str:
        return f"/v1/organizations/{caller.member.organization_id}"

    def project(self, project: UUID) -> str:
        return to_text("prj", project)

    created = "/twin/ours"


class Theirs:
    """The twins': bare UUIDs."""

    ready, me = "/ready", "/me"

    def organization(self, caller: Caller) -> str:
        return f"/organizations/{caller.tenant}"

    def project(self, project: UUID) -> str:
        return str(project)

    created = "/projects"


Paths = Ours | Theirs


def pages(paths: Paths, caller: Caller) -> Iterator[bytes]:
    """The first 20 projects, again and again."""
    return itertools.repeat(_get(f"{paths.organization(caller)}/projects?limit=20", caller))


def singles(paths: Paths, caller: Caller) -> Iterator[bytes]:
    """One project after the other."""
    listed = f"{paths.organization(caller)}/projects"
    return itertools.cycle([_get(f"{listed}/{paths.project(each)}", caller) for each in caller.projects])


def sessions(paths: Paths, caller: Caller) -> Iterator[bytes]:
    """Who am I?"""
    return itertools.repeat(_get(paths.me, caller))


def creations(paths: Paths, caller: Caller) -> Iterator[bytes]:
    """A new project each time, under a new Idempotency-Key."""
    while True:
        yield creation(paths, caller, uuid4().hex, {"name": "A project", "key": f"K{next(_numbers)}"})


def creation(paths: Paths, caller: Caller, key: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body)
    head = f"idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
    return _request("POST", paths.organization(caller) + paths.created, caller, head) + content.encode()


def _get(path: str, caller: Caller) -> bytes:
    return _request("GET", path, caller, "")


def _request(method: str, path: str, caller: Caller, more: str) -> bytes:
    bearer = f"authorization: Bearer {caller.member.person.token}\r\n"
    return f"{method} {path} HTTP/1.1\r\nhost: insula.test\r\nuser-agent: bench\r\naccept: */*\r\n{bearer}{more}\r\n".encode()


def with_cookie(path: str, caller: Caller) -> Iterator[bytes]:
    """What better-auth is asked: the session is in a cookie."""
    head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\naccept: */*\r\n"
    return itertools.repeat(f"{head}cookie: {caller.cookie}\r\n\r\n".encode())
