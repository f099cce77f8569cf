"""What a person's own record tells of their sessions: how each began and ended, once."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
from litestar import Litestar

from insula.core.http.authentication import COOKIE
from insula.core.ids import to_uuid
from tests.factories import ORIGIN, World
from tests.features.own_record import IP, said, session_of, told, with_password
from tests.features.signing_in import PASSWORD, sign_in


async def test_a_sign_in_is_told_with_its_session_and_where_it_came_from(world: World) -> None:
    person = await with_password(world)
    headers = {
        "user-agent": "curl/8",
        "x-request-id": "request-4711",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    signed_in = await world.client().post(
        "/v1/auth/sign-in", json={"email": person.email, "password": PASSWORD}, headers=headers
    )
    client = world.client(signed_in.json()["token"])
    (event,) = await told(client)
    session = await session_of(client)
    assert abs(datetime.fromisoformat(event.pop("occurred_at")) - datetime.now(UTC)) < timedelta(minutes=1)
    assert event.pop("id").startswith("evt_")
    assert event == {
        "type": "session.started",
        "schema_version": 1,
        "credential_id": session,
        "target_type": "session",
        "target_id": session,
        "data": {},
        "context": {
            "ip": IP,
            "user_agent": "curl/8",
            "request_id": "request-4711",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        },
    }
    stored = await world.superuser.fetchval("SELECT details FROM app.credential WHERE id = $1", to_uuid("crd", session))
    assert json.loads(stored) == {"ip": IP, "user_agent": "curl/8"}


async def test_signing_out_is_told_once(world: World) -> None:
    person = await world.person()
    watch, leaving = world.client(person.token), world.client(await world.session(person.id))
    session = await session_of(leaving)
    for _ in range(2):
        assert (await leaving.post("/v1/auth/sign-out")).status_code == 204
    (event,) = await told(watch)
    assert said([event]) == [("session.ended", session, {"reason": "signed_out"})]
    assert (event["credential_id"], event["context"]["ip"]) == (session, IP)


async def test_a_browsers_new_session_ends_the_one_it_showed_in_its_owners_record(world: World) -> None:
    before, person = await world.person(), await with_password(world)
    session = await session_of(world.client(before.token))
    answer = await world.client(cookies={COOKIE: before.token}).post(
        "/v1/auth/sign-in",
        json={"email": person.email, "password": PASSWORD, "transport": "cookie"},
        headers={"origin": ORIGIN},
    )
    assert answer.status_code == 200, answer.text
    replaced = await told(world.client(await world.session(before.id)))
    assert said(replaced) == [("session.ended", session, {"reason": "replaced"})]
    assert replaced[0]["credential_id"] == session
    assert [event["type"] for event in await told(world.client(person.token))] == ["session.started"]


async def test_the_oldest_of_too_many_sessions_ends_by_the_newest(world: World, litestar: Litestar) -> None:
    person = await with_password(world)
    oldest = await session_of(world.client(person.token))
    kept = litestar.state.settings
    litestar.state.settings = msgspec.structs.replace(kept, sessions_per_user=1)
    try:
        token = (await sign_in(world.client(), person.email)).json()["token"]
    finally:
        litestar.state.settings = kept
    client = world.client(token)
    newest = await session_of(client)
    ended, started = await told(client)
    assert said([ended, started]) == [
        ("session.ended", oldest, {"reason": "superseded"}),
        ("session.started", newest, {}),
    ]
    assert ended["credential_id"] == newest


async def test_each_revoked_session_is_told_by_the_one_that_revoked_it(world: World) -> None:
    person = await world.person()
    client = world.client(person.token)
    others = [await session_of(world.client(await world.session(person.id))) for _ in range(3)]
    mine = await session_of(client)
    path = f"/v1/me/sessions/{others[0]}/revocation"
    assert [(await client.post(path)).status_code for _ in range(2)] == [204, 404]
    for _ in range(2):
        all_others = await client.post(
            "/v1/me/sessions/revocation", json={}, headers={"idempotency-key": "once and for all"}
        )
        assert all_others.json() == {"revoked": 2}
    events = await told(client)
    assert {event["type"] for event in events} == {"session.revoked"}
    assert {event["credential_id"] for event in events} == {mine}
    assert events[2]["target_id"] == others[0]
    assert sorted(event["target_id"] for event in events[:2]) == others[1:]
    await client.post("/v1/me/sessions/revocation", json={"include_current": True})
    (latest, *_) = await told(world.client(await world.session(person.id)))
    assert said([latest]) == [("session.revoked", mine, {})]
