"""Being invited over HTTP: what somebody with an account may do."""

from insula.core.ids import new_id, to_uuid
from tests.factories import World
from tests.invitations import ACCEPT, JOIN, invite, members_of, sign_up, state_of, token_of


async def test_somebody_signed_in_accepts_with_the_token(world: World) -> None:
    owner = await world.owner()
    person = await world.person("Ada Lovelace")
    invitation = await invite(owner, person.email, role="billing")
    token = await token_of(world, invitation)
    accepted = await world.client(person.token).post(ACCEPT, json={"token": token})
    assert accepted.status_code == 201, accepted.text
    assert accepted.json()["role"] == "billing"
    member = await world.superuser.fetchrow(
        "SELECT * FROM app.membership WHERE id = $1", to_uuid("mem", accepted.json()["member_id"])
    )
    assert (member["name"], member["name_norm"], member["email"]) == ("Ada Lovelace", "ada lovelace", person.email)
    assert (member["user_id"], member["role"]) == (to_uuid("usr", person.id), "billing")
    again = await world.client(person.token).post(ACCEPT, json={"token": token})
    assert (again.status_code, again.json()["code"]) == (409, "invitation_accepted")


async def test_a_repeated_acceptance_is_answered_as_the_first(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    token = await token_of(world, await invite(owner, person.email))
    key = {"idempotency-key": new_id("x")}
    answers = [await world.client(person.token).post(ACCEPT, json={"token": token}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


async def test_somebody_signed_in_as_another_learns_the_way_out(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    other = await world.person()
    refused = await world.client(other.token).post(ACCEPT, json={"token": token})
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_account")
    assert invitation["email"] in refused.json()["detail"]
    assert "Sign out" in refused.json()["detail"]
    assert await state_of(world, invitation) == "pending"
    assert (await world.client().post(JOIN, json=sign_up(token))).status_code == 201


async def test_ones_own_invitations_are_listed_and_accepted_without_the_letter(world: World) -> None:
    person = await world.person()
    client = world.client(person.token)
    first, second, third = await world.owner("First"), await world.owner("Second"), await world.owner("Third")
    one = await invite(first, person.email.upper(), role="viewer")
    two = await invite(second, person.email)
    gone = await invite(third, person.email)
    await third.client.post(third.url(f"/invitations/{gone['id']}/revocation"))
    await invite(third)
    listed = await client.get("/v1/me/invitations")
    assert listed.status_code == 200, listed.text
    assert [(row["id"], row["organization_name"]) for row in listed.json()["data"]] == [
        (two["id"], "Second"),
        (one["id"], "First"),
    ]
    assert listed.json()["data"][1]["inviter_name"] == first.person.name
    paged = await client.get("/v1/me/invitations?limit=1&sort=created_at")
    assert [row["id"] for row in paged.json()["data"]] == [one["id"]]
    rest = await client.get(f"/v1/me/invitations?limit=1&sort=created_at&cursor={paged.json()['next_cursor']}")
    assert [row["id"] for row in rest.json()["data"]] == [two["id"]]

    accepted = await client.post(f"/v1/me/invitations/{one['id']}/acceptance")
    assert accepted.status_code == 201, accepted.text
    assert (accepted.json()["organization_id"], accepted.json()["role"]) == (first.organization_id, "viewer")
    assert [row["id"] for row in (await client.get("/v1/me/invitations")).json()["data"]] == [two["id"]]
    for verb in ("acceptance", "refusal"):
        again = await client.post(f"/v1/me/invitations/{one['id']}/{verb}")
        assert (again.status_code, again.json()["code"]) == (409, "invitation_accepted")
    closed = await client.post(f"/v1/me/invitations/{gone['id']}/acceptance")
    assert (closed.status_code, closed.json()["code"]) == (409, "invitation_closed")


async def test_an_unverified_address_is_nobodys(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    invitation = await invite(owner, person.email)
    await world.superuser.execute(
        'UPDATE app."user" SET email_verified_at = NULL WHERE id = $1', to_uuid("usr", person.id)
    )
    client = world.client(person.token)
    assert (await client.get("/v1/me/invitations")).json()["data"] == []
    assert (await client.post(f"/v1/me/invitations/{invitation['id']}/acceptance")).status_code == 404
    refused = await client.post(ACCEPT, json={"token": await token_of(world, invitation)})
    assert (refused.status_code, refused.json()["code"]) == (403, "email_unverified")


async def test_a_member_is_told_so_and_keeps_their_role(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    invitation = await invite(owner, person.email, role="viewer")
    await world.member(owner.organization_id, "admin", person)
    for path, body in (
        (ACCEPT, {"token": await token_of(world, invitation)}),
        (f"/v1/me/invitations/{invitation['id']}/acceptance", None),
    ):
        refused = await world.client(person.token).post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "already_member")
    assert (person.email, "admin") in await members_of(world, owner.organization_id)
    assert (await world.client(person.token).get("/v1/me/invitations")).json()["data"] == []


async def test_a_suspended_member_does_not_come_back_by_an_invitation(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    invitation = await invite(owner, person.email)
    member = await world.member(owner.organization_id, "viewer", person)
    await owner.client.post(owner.url(f"/members/{member.membership_id}/suspension"))
    for path, body in (
        (ACCEPT, {"token": await token_of(world, invitation)}),
        (f"/v1/me/invitations/{invitation['id']}/acceptance", None),
    ):
        refused = await world.client(person.token).post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "membership_suspended")
    status = await world.superuser.fetchval(
        "SELECT status FROM app.membership WHERE id = $1", to_uuid("mem", member.membership_id)
    )
    assert status == "suspended"
