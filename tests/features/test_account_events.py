"""A person's own record over HTTP: what happened to their account, once, and to nobody else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from insula.core.http.authentication import COOKIE
from insula.core.ids import new_id, to_text, to_uuid
from tests.factories import ORIGIN, Person, World
from tests.features.test_identity import give_password, sign_in
from tests.features.test_identity_letters import NEW_PASSWORD, PASSWORD, Mailbox
from tests.invitations import JOIN, invite, sign_up, token_of

EVENTS_URL = "/v1/me/events"
IP = "203.0.113.7"
NEW = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}


async def told(client: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    """What a person reads of their record, the latest first."""
    answer = await client.get(EVENTS_URL, params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def said(events: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(event["type"], event["target_id"], event["data"]) for event in events]


async def with_password(world: World) -> Person:
    person = await world.person()
    await give_password(world, person)
    return person


async def session_of(client: httpx.AsyncClient) -> str:
    """The id of the session that asks."""
    listed = (await client.get("/v1/me/sessions")).json()["data"]
    (current,) = [session["id"] for session in listed if session["current"]]
    return str(current)


async def token_in(mailbox: Mailbox, address: str) -> str:
    """That of the one letter that has a link in it."""
    (token,) = [mail.context["token"] for mail in await mailbox.open(address) if "token" in mail.context]
    return str(token)


async def lines(world: World, person: Person) -> int:
    found: int = await world.superuser.fetchval(
        "SELECT count(*) FROM app.account_event WHERE user_id = $1", to_uuid("usr", person.id)
    )
    return found


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


async def test_an_account_begins_with_its_verification_then_its_session(world: World, mailbox: Mailbox) -> None:
    address = f"{new_id('x')[-12:]}@example.com"
    started = await mailbox.sign_up(world, address)
    user_id: str = (await world.client(started["token"]).get("/v1/me")).json()["id"]
    client = world.client(started["token"])
    session = await session_of(client)
    latest, first = await told(client)
    assert said([latest, first]) == [
        ("session.started", session, {}),
        ("account.verified", user_id, {"by": "sign_up"}),
    ]
    assert (first["target_type"], latest["credential_id"]) == ("user", session)
    proof = await world.superuser.fetchval(
        "SELECT id FROM app.credential WHERE user_id = $1 AND kind = 'verification'", to_uuid("usr", user_id)
    )
    assert first["credential_id"] == to_text("crd", proof)
    assert first["context"]["ip"] == IP


async def test_who_joins_by_an_invitation_has_a_record_too(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    joined = await world.client().post(JOIN, json=sign_up(await token_of(world, invitation)))
    assert joined.status_code == 201, joined.text
    session = joined.json()["session"]
    client = world.client(session["token"])
    user_id = session["user"]["id"]
    assert said(await told(client)) == [
        ("session.started", await session_of(client), {}),
        ("account.verified", user_id, {"by": "invitation"}),
        ("account.invitation_accepted", invitation["id"], {"organization_id": owner.organization_id}),
    ]
    assert {event["context"]["ip"] for event in await told(client)} == {IP}
    another = await invite(await world.owner(), invitation["email"])
    again = await world.client().post(JOIN, json=sign_up(await token_of(world, another)))
    assert again.status_code == 409, again.text
    assert len(await told(client)) == 3


@pytest.mark.parametrize("by_token", [True, False])
async def test_accepting_and_declining_are_told_in_ones_own_record_in_the_same_words(
    world: World, by_token: bool
) -> None:
    owner, person = await world.owner(), await world.person()
    client = world.client(person.token)
    declined = await invite(owner, person.email)
    assert (await client.post(f"/v1/me/invitations/{declined['id']}/refusal")).status_code == 204
    accepted = await invite(owner, person.email)
    path = "/v1/me/invitations/acceptance" if by_token else f"/v1/me/invitations/{accepted['id']}/acceptance"
    body = {"token": await token_of(world, accepted)} if by_token else None
    assert (await client.post(path, json=body)).status_code == 201
    assert (await client.post(path, json=body)).status_code == 409
    session = await session_of(client)
    events = await told(client)
    assert said(events) == [
        ("account.invitation_accepted", accepted["id"], {"organization_id": owner.organization_id}),
        ("account.invitation_declined", declined["id"], {}),
    ]
    assert {(event["target_type"], event["credential_id"]) for event in events} == {("invitation", session)}
    theirs = {row["type"] for row in (await owner.client.get(owner.url("/event-types"))).json()["data"]}
    assert {"invitation.accepted", "invitation.declined"} <= theirs


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


async def test_a_changed_password_is_told_with_the_sessions_that_it_ended(world: World) -> None:
    person = await with_password(world)
    client, other = world.client(person.token), world.client(await world.session(person.id))
    mine, theirs = await session_of(client), await session_of(other)
    await world.superuser.execute(
        "UPDATE app.credential SET expires_at = now() WHERE id = $1",
        to_uuid("crd", await session_of(world.client(await world.session(person.id)))),
    )
    assert (await client.put("/v1/me/password", json=NEW)).status_code == 204
    events = await told(client)
    assert said(events) == [
        ("session.ended", theirs, {"reason": "password_changed"}),
        ("password.changed", person.id, {}),
    ]
    assert {event["credential_id"] for event in events} == {mine}
    assert {event["context"]["ip"] for event in events} == {IP}


async def test_a_reset_is_told_and_that_it_showed_the_address_to_be_theirs(world: World, mailbox: Mailbox) -> None:
    person = await with_password(world)
    session = await session_of(world.client(person.token))
    await world.superuser.execute(
        'UPDATE app."user" SET email_verified_at = NULL WHERE id = $1', to_uuid("usr", person.id)
    )
    for _ in range(2):
        await world.client().post("/v1/auth/reset-mail", json={"email": person.email})
        body = {"token": await token_in(mailbox, person.email), "password": NEW_PASSWORD}
        assert (await world.client().post("/v1/auth/reset", json=body)).status_code == 204
        assert (await world.client().post("/v1/auth/reset", json=body)).status_code == 400
    events = await told(world.client(await world.session(person.id)))
    assert said(events) == [
        ("password.reset", person.id, {}),
        ("session.ended", session, {"reason": "password_changed"}),
        ("password.reset", person.id, {}),
        ("account.verified", person.id, {"by": "reset"}),
    ]
    links = await world.superuser.fetch(
        "SELECT id FROM app.credential WHERE user_id = $1 AND kind = 'reset' ORDER BY id", to_uuid("usr", person.id)
    )
    assert [event["credential_id"] for event in events[::2]] == [to_text("crd", row[0]) for row in reversed(links)]


async def test_a_changed_name_is_told_as_it_was_and_as_it_is(world: World) -> None:
    person = await world.person()
    client = world.client(person.token)
    for _ in range(2):  # the second changes nothing
        assert (await client.patch("/v1/me", json={"name": "Zoë"}, headers={"if-match": "*"})).status_code == 200
    (event,) = await told(client)
    assert said([event]) == [
        ("account.updated", person.id, {"before": {"name": person.name}, "after": {"name": "Zoë"}})
    ]
    assert (event["credential_id"], event["context"]["ip"]) == (await session_of(client), IP)


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


async def test_what_fails_and_what_is_only_asked_for_is_not_told(world: World, mailbox: Mailbox) -> None:
    person = await with_password(world)
    client, stranger = world.client(person.token), world.client()
    for email in (person.email, "nobody@example.com"):
        assert (await sign_in(stranger, email, "not my password at all")).status_code == 401
        assert (await stranger.post("/v1/auth/reset-mail", json={"email": email})).status_code == 202
        body = {"name": "Eve", "email": email, "password": NEW_PASSWORD}
        assert (await stranger.post("/v1/auth/sign-up", json=body)).status_code == 202
        assert (await stranger.post("/v1/auth/verification-mail", json={"email": email})).status_code == 202
    token = await token_in(mailbox, person.email)
    assert (await stranger.post("/v1/auth/reset", json={"token": token, "password": "short"})).status_code == 422
    wrong = NEW | {"current_password": "not my password at all"}
    assert (await client.put("/v1/me/password", json=wrong)).status_code == 422
    assert (await client.patch("/v1/me", json={"name": "X"}, headers={"if-match": '"9"'})).status_code == 412
    assert (await client.post(f"/v1/me/sessions/{new_id('crd')}/revocation")).status_code == 404
    assert (await client.post("/v1/me/sessions/revocation", json={})).json() == {"revoked": 0}
    assert await told(client) == []
    unknown = await world.superuser.fetchval(
        'SELECT count(*) FROM app.account_event WHERE user_id = (SELECT id FROM app."user" WHERE email_norm = $1)',
        "nobody@example.com",
    )
    assert unknown == 0


async def test_what_is_undone_is_not_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await with_password(world)
    client = world.client(person.token)
    await world.superuser.execute(
        "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON app.password DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()"
    )
    try:
        assert (await client.put("/v1/me/password", json=NEW)).status_code >= 500
    finally:
        await world.superuser.execute("DROP TRIGGER refuse ON app.password")
    assert await lines(world, person) == 0

    def failing(*_: object) -> None:
        raise RuntimeError("after the record was written")

    monkeypatch.setattr("insula.features.identity.controllers.MeRead.of", failing)
    assert (await client.patch("/v1/me", json={"name": "X"}, headers={"if-match": "*"})).status_code == 500
    assert await lines(world, person) == 0
    assert (await client.get("/v1/me")).json()["name"] == person.name


async def test_nobody_reads_another_persons_record(world: World) -> None:
    ada, eve = await world.person(), await world.person()
    for person in (ada, eve):
        client = world.client(person.token)
        for name in "AB":
            await client.patch("/v1/me", json={"name": f"{name} {person.id}"}, headers={"if-match": "*"})
    mine = (await world.client(ada.token).get(EVENTS_URL, params={"limit": "1"})).json()
    theirs = await told(world.client(eve.token))
    assert {event["target_id"] for event in theirs} == {eve.id}
    stolen = await world.client(eve.token).get(EVENTS_URL, params={"limit": "1", "cursor": mine["next_cursor"]})
    assert stolen.status_code == 400
    assert (await world.client().get(EVENTS_URL)).status_code == 401


async def test_lines_are_found_by_type_and_time_and_page_by_page(world: World) -> None:
    person = await world.person()
    client = world.client(person.token)
    for name in "ABC":
        await client.patch("/v1/me", json={"name": name}, headers={"if-match": "*"})
    await client.post(f"/v1/me/sessions/{await session_of(world.client(await world.session(person.id)))}/revocation")
    everything = await told(client)
    assert [event["type"] for event in everything] == ["session.revoked", *["account.updated"] * 3]
    assert await told(client, sort="occurred_at") == everything[::-1]
    assert await told(client, type="session.revoked") == everything[:1]
    assert await told(client, type="password.changed") == []
    pages, params = [], {"limit": "2", "type": "account.updated"}
    while True:
        page = (await client.get(EVENTS_URL, params=params)).json()
        pages.append(page["data"])
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert pages == [everything[1:3], everything[3:]]
    middle = datetime.fromtimestamp((to_uuid("evt", everything[2]["id"]).int >> 80) / 1000, UTC)
    assert await told(client, since=middle.isoformat()) == everything[:3]
    assert await told(client, until=middle.isoformat()) == everything[3:]
    after, before = middle + timedelta(days=1), middle - timedelta(days=1)
    assert await told(client, since=before.isoformat(), until=after.isoformat()) == everything
    assert await told(client, since=after.isoformat()) == []


@pytest.mark.parametrize(
    "params",
    [
        {"type": "account.updatd"},
        {"type": "project.created"},
        {"since": "yesterday"},
        {"sort": "type"},
        {"cursor": "x"},
        {"limit": "101"},
        {"user_id": "x"},
        {"target_id": "x"},
    ],
)
async def test_what_cannot_be_asked_of_a_record_is_refused(world: World, params: dict[str, str]) -> None:
    client = world.client((await world.person()).token)
    assert (await client.get(EVENTS_URL, params=params)).status_code == 400


async def test_organizations_are_not_asked_for_what_happens_to_people(world: World) -> None:
    owner = await world.owner()
    answer = await owner.client.get(owner.url("/events"), params={"type": "session.started"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "query/type")
