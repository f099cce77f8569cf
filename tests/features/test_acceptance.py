"""Being invited over HTTP: what the holder of a letter may do."""

import httpx
import pytest
from litestar import Litestar

from insula.core.http.authentication import COOKIE
from insula.core.ids import to_uuid
from insula.core.passwords import Passwords
from tests.factories import ORIGIN, World
from tests.invitations import (
    ACCEPT,
    DECLINE,
    JOIN,
    PASSWORD,
    PREVIEW,
    creation_of,
    events_of,
    expire,
    fresh_address,
    invite,
    sign_up,
    state_of,
    token_of,
)


async def test_a_preview_says_what_is_offered_and_changes_nothing(world: World) -> None:
    owner = await world.owner("Acme")
    invitation = await invite(owner, role="admin")
    token = await token_of(world, invitation)
    for _ in range(2):
        preview = await world.client().post(PREVIEW, json={"token": token})
        assert preview.status_code == 200, preview.text
        assert preview.json() == {
            "organization_name": "Acme",
            "inviter_name": owner.person.name,
            "role": "admin",
            "email": invitation["email"],
            "expires_at": invitation["expires_at"],
            "has_account": False,
        }
    assert await state_of(world, invitation) == "pending"
    known = await world.person()
    offer = await token_of(world, await invite(owner, known.email.upper()))
    assert (await world.client().post(PREVIEW, json={"token": offer})).json()["has_account"] is True


async def test_following_a_link_accepts_nothing(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    person = await world.person(email=invitation["email"])
    for client in (world.client(), world.client(person.token)):
        for path in (PREVIEW, JOIN, DECLINE, ACCEPT, f"/v1/me/invitations/{invitation['id']}/acceptance"):
            for method in ("GET", "HEAD"):
                answer = await client.request(method, path)
                assert answer.status_code in {404, 405}, (method, path)
        with_token = await client.post(f"{PREVIEW}?token={token}", json={})
        assert with_token.status_code in {400, 401}
    assert await state_of(world, invitation) == "pending"


async def test_a_new_person_signs_up_by_the_invitation_and_is_a_member(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner, fresh_address("Grace"), role="viewer")
    token = await token_of(world, invitation)
    joined = await world.client().post(JOIN, json=sign_up(token))
    assert joined.status_code == 201, joined.text
    membership, session = joined.json()["membership"], joined.json()["session"]
    assert membership["organization_id"] == owner.organization_id
    assert membership["role"] == "viewer"
    assert session["user"]["email"] == invitation["email"]

    grace = world.client(session["token"])
    assert (await grace.get(f"/v1/organizations/{owner.organization_id}")).status_code == 200
    assert (await grace.get("/v1/me")).json()["name"] == "Grace Hopper"
    assert (await grace.get("/v1/me/organizations")).json()["data"][0]["member_id"] == membership["member_id"]
    again = await world.client().post(
        "/v1/auth/sign-in", json={"email": invitation["email"].lower(), "password": PASSWORD}
    )
    assert again.status_code == 200, "the address is verified by the invitation's token"

    assert await state_of(world, invitation) == "accepted"
    assert [kind for kind, _ in await events_of(world, invitation["id"])] == [
        "invitation.created",
        "invitation.accepted",
    ]
    assert await events_of(world, invitation["id"]) == [
        creation_of(invitation),
        ("invitation.accepted", {"member_id": membership["member_id"]}),
    ]
    assert await events_of(world, membership["member_id"]) == [
        ("member.added", {"user_id": session["user"]["id"], "role": "viewer"})
    ]
    actor = await world.superuser.fetchval(
        "SELECT actor_id FROM app.event WHERE target_id = $1", membership["member_id"]
    )
    assert actor == session["user"]["id"]


async def test_with_the_cookie_transport_the_answer_holds_no_secret(world: World) -> None:
    owner = await world.owner()
    token = await token_of(world, await invite(owner))
    forged = await world.client().post(JOIN, json=sign_up(token, transport="cookie"))
    assert forged.status_code == 403
    joined = await world.client().post(JOIN, json=sign_up(token, transport="cookie"), headers={"origin": ORIGIN})
    assert joined.status_code == 201, joined.text
    assert joined.json()["session"]["token"] is None
    cookie = joined.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=ins_ses_")
    for attribute in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert attribute in cookie
    assert "Domain" not in cookie


async def test_an_unfinished_sign_up_does_not_stand_in_the_way(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    squatted = await world.client().post(
        "/v1/auth/sign-up",
        json={"name": "Squatter", "email": invitation["email"], "password": "the password of somebody else"},
    )
    assert squatted.status_code == 202
    joined = await world.client().post(JOIN, json=sign_up(await token_of(world, invitation)))
    assert joined.status_code == 201, joined.text
    sneaky = await world.client().post(
        "/v1/auth/sign-in", json={"email": invitation["email"], "password": "the password of somebody else"}
    )
    assert sneaky.status_code == 401


async def test_an_account_is_not_taken_over_but_asked_to_sign_in(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    invitation = await invite(owner, person.email.upper())
    refused = await world.client().post(JOIN, json=sign_up(await token_of(world, invitation)))
    assert (refused.status_code, refused.json()["code"]) == (409, "sign_in_first")
    assert await state_of(world, invitation) == "pending"
    accepted = await world.client(person.token).post(ACCEPT, json={"token": await token_of(world, invitation)})
    assert accepted.status_code == 201, accepted.text


async def test_a_bad_name_and_a_bad_password_are_told_at_once(world: World) -> None:
    refused = await world.client().post(JOIN, json=sign_up("ins_inv_x", name="", password="passwordpassword"))
    assert refused.status_code == 400
    told = [(error["pointer"], error["code"]) for error in refused.json()["errors"]]
    assert told == [("/name", "too_short"), ("/password", "guessable")]


@pytest.mark.parametrize("password", ["short", "ada lovelace was here", "             \u0007           "])
async def test_a_password_that_is_not_good_enough_uses_nothing_up(world: World, password: str) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    refused = await world.client().post(JOIN, json=sign_up(token, name="Ada Lovelace", password=password))
    assert (refused.status_code, refused.json()["code"]) == (422, "password_refused")
    assert (await world.client().post(JOIN, json=sign_up(token))).status_code == 201


async def test_no_connection_is_held_while_the_password_is_hashed(
    world: World, litestar: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases, held = litestar.state.databases, []
    hash_ = Passwords.hash

    async def watched(self: Passwords, password: str) -> str:
        held.append([database.in_use for database in (databases.rw, databases.identity, databases.platform)])
        return await hash_(self, password)

    monkeypatch.setattr(Passwords, "hash", watched)
    token = await token_of(world, await invite(await world.owner()))
    assert (await world.client().post(JOIN, json=sign_up(token))).status_code == 201
    assert held == [[0, 0, 0]]


async def test_a_token_that_opens_nothing_costs_no_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Passwords, password: str) -> str:
        raise AssertionError("hashed")

    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
    monkeypatch.setattr(Passwords, "hash", never)
    refused = await world.client().post(JOIN, json=sign_up(token))
    assert (refused.status_code, refused.json()["code"]) == (409, "invitation_closed")


async def test_an_organization_that_filled_up_takes_nobody_in(world: World) -> None:
    owner = await world.owner()
    stranger, known = await invite(owner), await world.person()
    also = await invite(owner, known.email)
    await world.allow(owner.organization_id, members=1)
    refused = [
        await world.client().post(JOIN, json=sign_up(await token_of(world, stranger))),
        await world.client(known.token).post(ACCEPT, json={"token": await token_of(world, also)}),
        await world.client(known.token).post(f"/v1/me/invitations/{also['id']}/acceptance"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(403, "limit_reached")] * 3
    exists = 'SELECT EXISTS (SELECT FROM app."user" WHERE email_norm = $1)'
    assert not await world.superuser.fetchval(exists, stranger["email"].casefold()), "nor leaves an account behind"
    await world.superuser.execute(
        "UPDATE app.organization SET limits = NULL WHERE id = $1", to_uuid("org", owner.organization_id)
    )
    assert (await world.client().post(JOIN, json=sign_up(await token_of(world, stranger)))).status_code == 201


@pytest.mark.parametrize("column", ["suspended_at", "deleted_at"])
async def test_a_closed_organization_takes_nobody_in(world: World, column: str) -> None:
    owner = await world.owner()
    person = await world.person()
    stranger, known = await invite(owner), await invite(owner, person.email)
    await world.superuser.execute(
        f"UPDATE app.organization SET {column} = now() WHERE id = $1", to_uuid("org", owner.organization_id)
    )
    refused = [
        await world.client().post(PREVIEW, json={"token": await token_of(world, stranger)}),
        await world.client().post(JOIN, json=sign_up(await token_of(world, stranger))),
        await world.client(person.token).post(ACCEPT, json={"token": await token_of(world, known)}),
        await world.client(person.token).post(f"/v1/me/invitations/{known['id']}/acceptance"),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(409, "invitation_closed")}
    assert (await world.client(person.token).get("/v1/me/invitations")).json()["data"] == []


async def test_the_holder_declines_once(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    declined = await world.client().post(DECLINE, json={"token": token})
    assert declined.status_code == 204, declined.text
    shown = await owner.client.get(owner.url(f"/invitations/{invitation['id']}"))
    assert shown.json()["status"] == "declined"
    assert [kind for kind, _ in await events_of(world, invitation["id"])] == [
        "invitation.created",
        "invitation.declined",
    ]
    for path, body in ((DECLINE, {"token": token}), (PREVIEW, {"token": token}), (JOIN, sign_up(token))):
        again = await world.client().post(path, json=body)
        assert (again.status_code, again.json()["code"]) == (409, "invitation_closed")
    assert (await invite(owner, invitation["email"]))["status"] == "pending"


async def test_an_expired_invitation_is_refused_everywhere_and_told_apart(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    invitation = await invite(owner, person.email)
    token = await token_of(world, invitation)
    await expire(world, invitation)
    client = world.client(person.token)
    answers: list[httpx.Response] = [
        await client.post(PREVIEW, json={"token": token}),
        await client.post(JOIN, json=sign_up(token)),
        await client.post(DECLINE, json={"token": token}),
        await client.post(ACCEPT, json={"token": token}),
        await client.post(f"/v1/me/invitations/{invitation['id']}/acceptance"),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(409, "invitation_expired")}
    assert (await client.get("/v1/me/invitations")).json()["data"] == []


async def test_addresses_are_compared_without_regard_to_case(world: World) -> None:
    owner = await world.owner()
    person = await world.person(email=fresh_address("Camel.Case"))
    invitation = await invite(owner, person.email.swapcase())
    assert (await world.client(person.token).get("/v1/me/invitations")).json()["data"][0]["id"] == invitation["id"]
    accepted = await world.client(person.token).post(ACCEPT, json={"token": await token_of(world, invitation)})
    assert accepted.status_code == 201, accepted.text
