"""Sign-up, verification, sign-in, sign-out, reset and one's own account, over HTTP."""

import httpx
import pytest

from insula.core.ids import to_uuid
from insula.core.passwords import outdated
from tests.factories import World
from tests.features.signing_in import NEW_PASSWORD, PASSWORD, give_password, sign_in
from tests.features.test_identity_letters import Mailbox


async def test_a_person_signs_up_verifies_signs_in_and_signs_out(
    world: World, mailbox: Mailbox, stranger: httpx.AsyncClient
) -> None:
    email = "Ada.Lovelace@example.com"
    asked = await stranger.post("/v1/auth/sign-up", json={"name": "Ada", "email": email, "password": PASSWORD})
    assert asked.status_code == 202
    assert (await sign_in(stranger, email)).status_code == 401

    body = {"token": await mailbox.token(email), "password": PASSWORD}
    verified = await stranger.post("/v1/auth/verification", json=body)
    assert verified.status_code == 200, verified.text
    assert verified.json()["user"] | {"id": "", "created_at": "", "updated_at": ""} == {
        "id": "", "name": "Ada", "email": email, "created_at": "", "updated_at": "", "version": 2,
    }  # fmt: skip
    assert (await world.client(verified.json()["token"]).get("/v1/me")).json() == verified.json()["user"]

    signed_in = await sign_in(stranger, "ADA.lovelace@EXAMPLE.com")
    assert signed_in.status_code == 200, signed_in.text
    assert signed_in.headers["cache-control"] == "no-store"
    ada = world.client(signed_in.json()["token"])
    assert (await ada.get("/v1/me")).json() == signed_in.json()["user"]
    assert (await ada.post("/v1/auth/sign-out")).status_code == 204
    assert (await ada.get("/v1/me")).status_code == 401
    assert (await ada.post("/v1/auth/sign-out")).status_code == 204


async def test_the_owner_of_an_account_hears_that_somebody_signed_up_with_their_address(
    world: World, mailbox: Mailbox, stranger: httpx.AsyncClient
) -> None:
    person = await world.person()
    await give_password(world, person)
    asked = await stranger.post(
        "/v1/auth/sign-up", json={"name": "Eve", "email": person.email.upper(), "password": NEW_PASSWORD}
    )
    assert asked.status_code == 202
    (mail,) = await mailbox.open(person.email)
    assert mail.template == "identity/sign_up_attempt"
    assert (await sign_in(stranger, person.email, NEW_PASSWORD)).status_code == 401
    assert (await sign_in(stranger, person.email)).json()["user"]["name"] == person.name


@pytest.mark.attack(59)
async def test_a_stranger_who_signs_up_first_gains_nothing(world: World, mailbox: Mailbox) -> None:
    eve, ada, email = world.client(), world.client(), "prehijacked@example.com"
    await eve.post("/v1/auth/sign-up", json={"name": "Eve", "email": email, "password": "eve knows this password"})
    eves_link = await mailbox.token(email)
    # Ada follows the link although she did not sign up; she does not know what Eve typed.
    mistaken = await ada.post("/v1/auth/verification", json={"token": eves_link, "password": PASSWORD})
    assert mistaken.status_code == 401
    assert (await sign_in(eve, email, "eve knows this password")).status_code == 401
    # Then Ada signs up herself, and Eve once more, so that hers is the latest.
    await ada.post("/v1/auth/sign-up", json={"name": "Ada", "email": email, "password": PASSWORD})
    adas_link = await mailbox.token(email)
    await eve.post("/v1/auth/sign-up", json={"name": "Eve", "email": email, "password": "eve knows this password"})
    verified = await ada.post("/v1/auth/verification", json={"token": adas_link, "password": PASSWORD})
    assert verified.json()["user"]["name"] == "Ada"
    assert (await sign_in(eve, email, "eve knows this password")).status_code == 401
    for token in (eves_link, adas_link):
        body = {"token": token, "password": "eve knows this password"}
        assert (await eve.post("/v1/auth/verification", json=body)).json()["code"] == "link_invalid"
    assert await mailbox.open(email) == []  # the letter to Eve's second sign-up would carry a dead link


async def test_a_reset_takes_an_unfinished_sign_up_back_from_a_stranger(
    mailbox: Mailbox, stranger: httpx.AsyncClient
) -> None:
    email = "taken.back@example.com"
    await stranger.post("/v1/auth/sign-up", json={"name": "Eve", "email": email, "password": NEW_PASSWORD})
    await mailbox.open(email)
    await stranger.post("/v1/auth/reset-mail", json={"email": email})
    body = {"token": await mailbox.token(email), "password": PASSWORD}
    assert (await stranger.post("/v1/auth/reset", json=body)).status_code == 204
    assert (await sign_in(stranger, email, NEW_PASSWORD)).status_code == 401
    mine = await sign_in(stranger, email, PASSWORD)
    assert mine.json()["user"]["name"] == "taken back", "what the stranger called them is forgotten"


async def test_a_verification_letter_can_be_asked_for_again_and_either_link_works(
    world: World, mailbox: Mailbox, stranger: httpx.AsyncClient
) -> None:
    email = "twice@example.com"
    await stranger.post("/v1/auth/sign-up", json={"name": "Ada", "email": email, "password": PASSWORD})
    first = await mailbox.token(email)
    again = await stranger.post("/v1/auth/verification-mail", json={"email": email})
    assert again.status_code == 202
    second = await mailbox.token(email)
    assert first != second
    used = {"token": first, "password": PASSWORD}
    assert (await stranger.post("/v1/auth/verification", json=used)).status_code == 200
    assert (await stranger.post("/v1/auth/verification", json=used)).status_code == 400
    assert (await stranger.post("/v1/auth/verification", json=used | {"token": second})).status_code == 400
    assert (await stranger.post("/v1/auth/verification-mail", json={"email": email})).content == again.content
    assert await mailbox.open(email) == []


async def test_a_disabled_account_gets_neither_in_nor_letters(
    world: World, mailbox: Mailbox, stranger: httpx.AsyncClient
) -> None:
    person = await world.person()
    await give_password(world, person)
    await stranger.post("/v1/auth/reset-mail", json={"email": person.email})
    token = await mailbox.token(person.email)
    await world.superuser.execute('UPDATE app."user" SET disabled_at = now() WHERE email = $1', person.email)
    assert (await sign_in(stranger, person.email)).status_code == 401
    body = {"token": token, "password": NEW_PASSWORD}
    assert (await stranger.post("/v1/auth/reset", json=body)).status_code == 400
    await stranger.post("/v1/auth/reset-mail", json={"email": person.email})
    assert await mailbox.open(person.email) == []


async def test_a_sign_in_renews_a_hash_of_outdated_cost(world: World, stranger: httpx.AsyncClient) -> None:
    person = await world.person()
    await give_password(world, person)
    stored = "SELECT hash FROM app.password WHERE user_id = $1"
    before = await world.superuser.fetchval(stored, to_uuid("usr", person.id))
    assert (await sign_in(stranger, person.email)).status_code == 200
    after = await world.superuser.fetchval(stored, to_uuid("usr", person.id))
    assert outdated(before.rpartition("$")[0] + "$")
    assert not outdated(after.rpartition("$")[0] + "$")
    assert after.startswith("$argon2id$v=19$m=19456,t=2,p=1$")  # OWASP's minimum
    assert (await sign_in(stranger, person.email)).status_code == 200
    assert await world.superuser.fetchval(stored, to_uuid("usr", person.id)) == after


async def test_a_new_password_ends_every_other_session_and_every_link(
    world: World, mailbox: Mailbox, stranger: httpx.AsyncClient
) -> None:
    person = await world.person()
    await give_password(world, person)
    elsewhere = world.client(await world.session(person.id))
    await stranger.post("/v1/auth/reset-mail", json={"email": person.email})
    link = await mailbox.token(person.email)
    here = world.client(person.token)
    wrong = await here.put(
        "/v1/me/password", json={"current_password": "another one than mine", "new_password": NEW_PASSWORD}
    )
    assert wrong.status_code == 422
    assert wrong.json()["errors"] == [
        {
            "pointer": "/current_password",
            "code": "current_password_wrong",
            "detail": "This is not your password",
        }
    ]
    short = await here.put("/v1/me/password", json={"current_password": PASSWORD, "new_password": "short"})
    assert short.json()["errors"][0]["pointer"] == "/new_password"
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await stranger.put("/v1/me/password", json=body)).status_code == 401
    assert (await here.put("/v1/me/password", json=body)).status_code == 204
    assert (await here.get("/v1/me")).status_code == 200
    assert (await elsewhere.get("/v1/me")).status_code == 401
    assert (await elsewhere.put("/v1/me/password", json=body)).status_code == 401
    dead = await stranger.post("/v1/auth/reset", json={"token": link, "password": PASSWORD})
    assert dead.json()["code"] == "link_invalid"
    assert [mail.template for mail in await mailbox.open(person.email)] == ["identity/password_changed"]
    assert (await sign_in(stranger, person.email, PASSWORD)).status_code == 401
    assert (await sign_in(stranger, person.email, NEW_PASSWORD)).status_code == 200


async def test_my_name_changes_and_what_organizations_call_me_does_not(world: World) -> None:
    owner = await world.owner()
    read = await owner.client.get("/v1/me")
    assert read.headers["etag"] == '"1"'
    changed = await owner.client.patch("/v1/me", json={"name": "Zoë"}, headers={"if-match": '"1"'})
    assert changed.json()["name"] == "Zoë"
    assert changed.headers["etag"] == '"2"'
    assert (await owner.client.get("/v1/me")).json() == changed.json()
    assert (await owner.client.patch("/v1/me", json={"name": "X"}, headers={"if-match": '"1"'})).status_code == 412
    assert (await owner.client.patch("/v1/me", json={"name": "X"})).status_code == 428
    profile = await world.superuser.fetchval(
        "SELECT name FROM app.membership WHERE id = $1", to_uuid("mem", owner.membership_id)
    )
    assert profile == owner.person.name


async def test_unconfirmed_sign_ups_are_purged_when_their_links_are_over(
    world: World, stranger: httpx.AsyncClient
) -> None:
    email = "never.confirmed@example.com"
    await stranger.post("/v1/auth/sign-up", json={"name": "Eve", "email": email, "password": PASSWORD})
    purge, count = (
        "SELECT app.purge_sign_ups(interval '7 days', 100)",
        'SELECT count(*) FROM app."user" WHERE email = $1',
    )
    await world.superuser.execute(
        "UPDATE app.\"user\" SET created_at = now() - interval '8 days' WHERE email = $1", email
    )
    await world.superuser.execute(purge)
    assert await world.superuser.fetchval(count, email) == 1
    await world.superuser.execute("UPDATE app.credential SET expires_at = now() WHERE kind = 'verification'")
    await world.superuser.execute(purge)
    assert await world.superuser.fetchval(count, email) == 0
