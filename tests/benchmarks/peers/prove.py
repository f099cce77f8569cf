"""Before anything is measured: every twin answers with our fields, refuses what we refuse and writes what we write."""

import json
from typing import Any, Final
from uuid import uuid4

import asyncpg
import msgspec

from insula.core.ids import to_uuid
from tests.benchmarks.peers.contestants import OURS, Contestant
from tests.benchmarks.peers.data import Caller, creation, known_to_twins, pages, sessions, singles, with_cookie
from tests.benchmarks.peers.line import Line
from tests.factories import World

_WRITTEN: Final = """
SELECT (SELECT count(*) FROM app.project), (SELECT count(*) FROM app.event), (SELECT count(*) FROM app.outbox),
       (SELECT count(*) FROM app.idempotency)
"""


Cast = dict[str, Caller]
"""Who tries: a member, a viewer, a member of another organization, and one whose session is revoked."""


async def cast_of(world: World, callers: list[Caller]) -> Cast:
    member, organization = callers[1], callers[1].member.organization_id
    viewer = await world.member(organization, "viewer")
    revoked = await world.member(organization, "member")
    stranger = msgspec.structs.replace(callers[-1].member, organization_id=organization)
    for each in (viewer, revoked):
        await known_to_twins(world.superuser, each)
    await world.superuser.execute(
        "UPDATE app.credential SET revoked_at = now() WHERE user_id = $1", to_uuid("usr", revoked.person.id)
    )
    others = {"viewer": viewer, "stranger": stranger, "revoked": revoked}
    return {"member": member, **{who: Caller(each, member.projects) for who, each in others.items()}}


async def alike(contestants: list[Contestant], cast: Cast, superuser: asyncpg.Connection) -> None:
    """Raise AssertionError for a twin that does less than ours."""
    for look in (_read, _created):  # who creates changes what others read
        expected: dict[str, Any] = {}
        for contestant in contestants:
            line = await Line.connect(contestant.port)
            found = await look(line, contestant, cast, superuser)
            line.close()
            if contestant.name == OURS:
                expected = found
            for what, value in found.items():
                assert value == expected[what], f"{contestant.name}, {what}: {value!r} and not {expected[what]!r}"


async def _read(line: Line, contestant: Contestant, cast: Cast, _superuser: asyncpg.Connection) -> dict[str, Any]:
    paths, member = contestant.paths, cast["member"]
    status, body = await line.exchange(next(pages(paths, member)))
    assert status == 200, body
    page = json.loads(body)
    found = {"page": [*page], "rows": [_plain(row) for row in page["data"]]}
    status, body = await line.exchange(next(singles(paths, member)))
    assert status == 200, body
    found["single"] = _plain(json.loads(body))
    status, body = await line.exchange(next(sessions(paths, member)))
    assert status == 200, body
    found["session"] = [*json.loads(body)]
    for who in ("stranger", "revoked"):
        found[who], _ = await line.exchange(next(pages(paths, cast[who])))
    found["wrong limit"], _ = await line.exchange(next(pages(paths, member)).replace(b"limit=20", b"limit=101"))
    found["wrong limit"] //= 100
    return found


async def _created(line: Line, contestant: Contestant, cast: Cast, superuser: asyncpg.Connection) -> dict[str, Any]:
    paths, member, found = contestant.paths, cast["member"], dict[str, Any]()
    body = {"name": "A project", "key": f"T{uuid4().hex[:8].upper()}", "metadata": {"a": 1}}
    found["a viewer's"], _ = await line.exchange(creation(paths, cast["viewer"], uuid4().hex, body))
    found["a wrong one"], _ = await line.exchange(creation(paths, member, uuid4().hex, {**body, "key": "low"}))
    found["a wrong one"] //= 100
    before = await superuser.fetchrow(_WRITTEN)
    key = uuid4().hex
    first = await line.exchange(creation(paths, member, key, body))
    again = await line.exchange(creation(paths, member, key, body))
    assert first[0] == again[0] == 201, (contestant.name, first, again)
    assert json.loads(first[1]) == json.loads(again[1]), (contestant.name, first, again)
    found["another body"], _ = await line.exchange(creation(paths, member, key, {**body, "name": "Another"}))
    found["a taken key"], _ = await line.exchange(creation(paths, member, uuid4().hex, body))
    after = await superuser.fetchrow(_WRITTEN)
    found["written"] = [now - then for now, then in zip(after, before, strict=True)]
    found["created"] = [*json.loads(first[1])]
    return found


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without what is written in another way: ids, and fractions of a second."""
    return {
        name: value for name, value in row.items() if name not in {"id", "created_by", "created_at", "updated_at"}
    } | {"fields": sorted(row)}


async def asks_the_database(better_auth: Contestant, caller: Caller, auth_database: str) -> None:
    """Raise AssertionError where better-auth believes the cookie of a session that was deleted."""
    requests = [next(with_cookie(path, caller)) for path in ("/api/auth/get-session", "/me")]
    line = await Line.connect(better_auth.port)
    for request in requests:
        status, body = await line.exchange(request)
        assert (status, caller.member.person.email.encode() in body) == (200, True), body
    connection = await asyncpg.connect(auth_database)
    await connection.execute(
        'DELETE FROM session USING "user" AS u WHERE u.id = "userId" AND u.email = $1', caller.member.person.email
    )
    await connection.close()
    answers = [await line.exchange(request) for request in requests]
    assert answers == [(200, b"null"), (401, b"")], answers
    line.close()
