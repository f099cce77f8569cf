"""A request is one transaction: it happened and was answered so, or it did not happen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from insula.core import journal
from insula.core.http import bodies, held_reply
from insula.core.http.room import Room
from insula.core.ids import to_uuid
from insula.core.listing import first_id_of
from insula.core.logs import configure_logs
from tests.factories import ORIGIN, Member, World

RAISES = """
CREATE FUNCTION app.test_raise() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('app.test_raised') <= TG_ARGV[1]::int THEN
        RAISE EXCEPTION 'arranged' USING ERRCODE = TG_ARGV[0], DETAIL = 'a row of somebody else';
    END IF;
    RETURN NULL;
END $$;
"""


@asynccontextmanager
async def raising(
    superuser: asyncpg.Connection, sqlstate: str, times: int = 1, *, deferred: bool = False
) -> AsyncIterator[None]:
    """Projects cannot be inserted, or with ``deferred`` not committed, the first so many times."""
    await superuser.execute("CREATE SEQUENCE app.test_raised")
    await superuser.execute(RAISES)
    await superuser.execute(
        f"CREATE CONSTRAINT TRIGGER test_raise AFTER INSERT ON app.project"
        f" {'DEFERRABLE INITIALLY DEFERRED' if deferred else ''} FOR EACH ROW"
        f" EXECUTE FUNCTION app.test_raise('{sqlstate}', '{times}')"
    )
    try:
        yield
    finally:
        await superuser.execute("DROP FUNCTION app.test_raise CASCADE; DROP SEQUENCE app.test_raised")


async def traces(superuser: asyncpg.Connection, member: Member) -> tuple[int, int, int]:
    """How many projects, project events and stored answers there are."""
    tenant, person = to_uuid("org", member.organization_id), to_uuid("usr", member.person.id)
    return (
        await superuser.fetchval("SELECT count(*) FROM app.project WHERE tenant_id = $1", tenant),
        await superuser.fetchval(
            "SELECT count(*) FROM app.event WHERE tenant_id = $1 AND type = 'project.created'", tenant
        ),
        await superuser.fetchval("SELECT count(*) FROM app.idempotency WHERE user_id = $1", person),
    )


def order(name: str = "Website", then: str = "succeed") -> dict[str, Any]:
    return {"name": name, "then": then}


async def test_an_answer_that_is_made_once_more_is_held_once(
    world: World, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    until, left = Room.until, []

    def watched(room: Room, *arguments: Any) -> Any:
        take = until(room, *arguments)
        return lambda length: left.append((take(length), room._free))

    monkeypatch.setattr(held_reply, "PIECE", 0)
    monkeypatch.setattr(Room, "until", watched)
    owner = await world.owner()
    async with raising(superuser, "40001", deferred=True):
        answer = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "XX"})
    assert answer.status_code == 201, answer.text
    first, second = left
    assert first == second


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_serialization_failure_runs_the_request_once_more(
    world: World, superuser: asyncpg.Connection, sqlstate: str, deferred: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("info", json=True)
    owner = await world.owner()
    async with raising(superuser, sqlstate, deferred=deferred):
        answer = await owner.client.post(
            owner.url("/projects"), json={"name": "x", "key": "XX"}, headers={"idempotency-key": "k"}
        )
    assert answer.status_code == 201, answer.text
    assert await traces(superuser, owner) == (1, 1, 1)
    logged = capsys.readouterr().out
    assert "requests collided" in logged
    assert '"level":"error"' not in logged


@pytest.mark.parametrize("deferred", [False, True])
async def test_after_the_second_serialization_failure_the_caller_is_told_to_try_again(
    world: World, superuser: asyncpg.Connection, deferred: bool
) -> None:
    owner = await world.owner()
    async with raising(superuser, "40001", times=2, deferred=deferred):
        request = {"json": {"name": "x", "key": "XX"}, "headers": {"idempotency-key": "k"}}
        answer = await owner.client.post(owner.url("/projects"), **request)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert await traces(superuser, owner) == (0, 0, 0)
        assert (await owner.client.post(owner.url("/projects"), **request)).status_code == 201


async def test_a_deadlock_ends_with_both_requests_done(shop: World, superuser: asyncpg.Connection) -> None:
    owner = await shop.owner()
    made = [await owner.client.post(owner.url("/workshop/pieces"), json=order()) for _ in range(2)]
    one, other = (piece.json()["id"] for piece in made)
    url = owner.url("/workshop/locks")
    answers = await asyncio.gather(owner.client.post(url, json=[one, other]), owner.client.post(url, json=[other, one]))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert (await traces(superuser, owner))[0] == 4


@pytest.mark.parametrize(("sqlstate", "status", "code"), [("23514", 409, "conflict"), ("P0001", 500, "internal_error")])
async def test_a_failed_commit_is_a_failed_request(
    world: World, superuser: asyncpg.Connection, sqlstate: str, status: int, code: str
) -> None:
    owner = await world.owner()
    async with raising(superuser, sqlstate, deferred=True):
        answer = await owner.client.post(
            owner.url("/projects"), json={"name": "x", "key": "XX"}, headers={"idempotency-key": "k"}
        )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "somebody else" not in answer.text
    assert await traces(superuser, owner) == (0, 0, 0)


async def test_an_event_that_no_partition_takes_is_no_conflict_of_the_callers(
    world: World, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.owner()
    monkeypatch.setattr(journal, "new_uuid", lambda: first_id_of(datetime(2190, 1, 1, tzinfo=UTC)))
    answer = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "XX"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "event" not in answer.text
    assert await traces(superuser, owner) == (0, 0, 0)


@pytest.mark.parametrize("then", ["explode", "conflict"])
async def test_what_fails_in_the_middle_leaves_nothing(shop: World, superuser: asyncpg.Connection, then: str) -> None:
    owner = await shop.owner()
    answer = await owner.client.post(
        owner.url("/workshop/pieces"), json=order(then=then), headers={"idempotency-key": "k"}
    )
    assert answer.status_code == {"explode": 500, "conflict": 409}[then]
    assert await traces(superuser, owner) == (0, 0, 0)


async def test_an_answer_that_cannot_be_written_undoes_what_it_tells_of(
    shop: World, superuser: asyncpg.Connection
) -> None:
    owner = await shop.owner()
    answer = await owner.client.post(owner.url("/workshop/oddities"), json=order(), headers={"idempotency-key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert await traces(superuser, owner) == (0, 0, 0)


async def test_a_streamed_answer_begins_when_its_transaction_is_committed(
    shop: World, superuser: asyncpg.Connection
) -> None:
    owner = await shop.owner()
    async with owner.client.stream("POST", owner.url("/workshop/streams"), json={**order(), "count": 3}) as answer:
        assert (await traces(superuser, owner))[0] == 1
        assert (await answer.aread()) == b"part 0\npart 1\npart 2\n"
    refused = await owner.client.post(
        owner.url("/workshop/streams"), json={**order(), "count": 3}, headers={"idempotency-key": "k"}
    )
    # It could not be repeated word for word, so it is not begun.
    assert refused.status_code == 500
    assert await traces(superuser, owner) == (1, 0, 0)


async def call(world: World, member: Member, method: str, path: str, messages: list[Any]) -> list[Any]:
    """A request whose body arrives in these messages, or waits for ever; returns what was sent."""
    sent: list[Any] = []
    left = list(messages)

    async def receive() -> Any:
        return left.pop(0) if left else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"authorization": f"Bearer {member.person.token}", "content-type": "application/json", "host": "x"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "query_string": b"",
        "path": member.url(path),
        "raw_path": member.url(path).encode(),
        "root_path": "",
        "scheme": "http",
        "server": (ORIGIN, 80),
        "client": ("203.0.113.7", 1),
        "state": {},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await world.app(scope, receive, send)
    return sent


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


async def test_a_caller_who_goes_away_in_the_middle_leaves_nothing(
    world: World, superuser: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("info", json=True)
    owner = await world.owner()
    whole = b'{"name": "x", "key": "XX"}'
    for messages in ([GONE], [part(whole[:9]), GONE]):
        sent = await call(world, owner, "POST", "/projects", messages)
        assert sent[0]["status"] == 400
    assert await traces(superuser, owner) == (0, 0, 0)
    logged = capsys.readouterr().out
    assert '"status":400' in logged
    assert '"level":"error"' not in logged
    sent = await call(world, owner, "POST", "/projects", [part(whole[:9]), part(whole[9:], more=False), GONE])
    assert sent[0]["status"] == 201


async def test_a_body_that_trickles_holds_no_connection_and_is_given_up(
    world: World, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.owner()
    monkeypatch.setattr(bodies, "_SECONDS", 0.5)
    slow = [asyncio.create_task(call(world, owner, "POST", "/projects", [part(b'{"name"')])) for _ in range(30)]
    await asyncio.sleep(0.1)
    answer = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "XX"})
    assert answer.status_code == 201
    assert [task.done() for task in slow] == [False] * 30
    for task in slow:
        assert (await task)[0]["status"] == 408
    assert (await traces(superuser, owner))[0] == 1


async def test_only_known_callers_send_long_bodies(world: World) -> None:
    owner = await world.owner()
    stranger = await world.person()
    long = [part(b" " * 10_000), part(b" " * 10_000)]  # and no more: whoever waits for the rest hangs
    for token, status in (("ins_ses_" + "a" * 65, 401), (stranger.token, 404)):
        member = Member(type(stranger)("", "", "", token), owner.organization_id, "", "", owner.client)
        sent = await asyncio.wait_for(call(world, member, "POST", "/projects", list(long)), 2)
        assert sent[0]["status"] == status
    body = b'{"name": "x", "key": "XX"' + b" " * 60_000 + b"}"
    sent = await call(world, owner, "POST", "/projects", [part(body[:50_000]), part(body[50_000:], more=False)])
    assert sent[0]["status"] == 201


async def test_a_body_is_refused_once_it_is_too_long(world: World) -> None:
    owner = await world.owner()
    endless = [part(b" " * 100_000) for _ in range(20)]
    sent = await call(world, owner, "POST", "/projects", endless)
    assert sent[0]["status"] == 413
    # Nobody asked for a body here, and nobody reads it to the end.
    sent = await call(world, owner, "POST", "/departure", [part(b" " * 100_000) for _ in range(20)])
    assert sent[0]["status"] == 409  # the last owner stays


async def test_one_credential_cannot_ask_after_every_organization(world: World) -> None:
    stranger = await world.person()
    client = world.client(stranger.token)
    answer = await client.get("/v1/organizations/org_01j865wyhvfh6rwqv0e619795n")
    assert answer.status_code == 404
    assert answer.headers["ratelimit-policy"].startswith('"credential"')
