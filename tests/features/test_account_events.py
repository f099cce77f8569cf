"""A person's own record over HTTP: what happened to their account, once, and to nobody else."""

import pytest

from insula.core.ids import new_id, to_text, to_uuid
from tests.factories import World
from tests.features.own_record import IP, NEW, lines, said, session_of, token_in, told, with_password
from tests.features.signing_in import NEW_PASSWORD, sign_in
from tests.features.test_identity_letters import Mailbox
from tests.invitations import JOIN, invite, sign_up, token_of


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
