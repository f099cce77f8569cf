"""Inviting people over HTTP: what members do."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from insula.core.ids import new_id, to_uuid
from insula.core.permissions import Role, may_grant
from insula.features.invitations.letters import Letters
from tests.factories import World
from tests.invitations import creation_of, events_of, expire, fresh_address, invite, letters_for, token_of


async def test_an_address_has_one_open_invitation_whatever_its_case(world: World) -> None:
    owner = await world.owner()
    email = fresh_address("Ada")
    invitation = await invite(owner, email)
    for same in (email, email.upper(), email.lower()):
        again = await owner.client.post(owner.url("/invitations"), json={"email": same, "role": "viewer"})
        assert (again.status_code, again.json()["code"]) == (409, "invitation_open")
    await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
    assert (await invite(owner, email.upper()))["id"] != invitation["id"]


async def test_twenty_invitations_to_one_address_at_once_are_one(world: World) -> None:
    owner = await world.owner()
    body = {"email": fresh_address(), "role": "member"}
    answers = await asyncio.gather(*(owner.client.post(owner.url("/invitations"), json=body) for _ in range(20)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * 19
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"invitation_open"}


@pytest.mark.parametrize("many", [False, True])
async def test_who_invites_a_moment_later_does_not_expire_the_first_invitation(
    world: World, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    owner, email, first = await world.owner(), fresh_address(), []
    take = Letters.take

    async def overtaken(self: Letters, organization_id: str, addresses: list[str]) -> None:
        if not first:
            first.append("on its way")
            first[0] = (await invite(owner, email))["id"]
        await take(self, organization_id, addresses)

    monkeypatch.setattr(Letters, "take", overtaken)
    person = {"email": email, "role": "member"}
    path, body = ("/invitations/batch", {"invitations": [person]}) if many else ("/invitations", person)
    second = await owner.client.post(owner.url(path), json=body)
    assert (second.status_code, second.json()["code"]) == (409, "invitation_open")
    listed = (await owner.client.get(owner.url("/invitations"))).json()["data"]
    assert [(row["id"], row["status"]) for row in listed] == [(first[0], "pending")]


async def test_a_member_is_not_invited_again(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "viewer")
    again = await owner.client.post(
        owner.url("/invitations"), json={"email": member.person.email.upper(), "role": "member"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "already_member")


@pytest.mark.attack(8)
async def test_inviting_tells_nothing_about_people_of_other_organizations(world: World) -> None:
    ours, theirs = await world.owner(), await world.owner()
    known = (await world.member(theirs.organization_id, "member")).person.email
    invited = (await invite(theirs))["email"]
    answers = [await invite(ours, email) for email in (known, invited, fresh_address())]
    assert len({tuple(sorted(answer)) for answer in answers}) == 1
    assert {answer["status"] for answer in answers} == {"pending"}


async def test_an_expired_invitation_says_so_and_makes_room_for_a_new_one(world: World) -> None:
    owner = await world.owner()
    old = await invite(owner)
    await expire(world, old)
    shown = (await owner.client.get(owner.url(f"/invitations/{old['id']}"))).json()
    assert (shown["status"], shown["acceptable"]) == ("expired", False)

    async def ids(status: str) -> list[str]:
        page = await owner.client.get(owner.url(f"/invitations?status={status}"))
        return [row["id"] for row in page.json()["data"]]

    assert (await ids("pending"), await ids("expired")) == ([], [old["id"]])
    new = await invite(owner, old["email"])
    assert (await ids("pending"), await ids("expired")) == ([new["id"]], [old["id"]])
    assert [kind for kind, _ in await events_of(world, old["id"])] == ["invitation.created", "invitation.expired"]
    closed = await owner.client.post(owner.url(f"/invitations/{old['id']}/resending"))
    assert (closed.status_code, closed.json()["code"]) == (409, "invitation_closed")


async def test_an_invitation_that_can_no_longer_be_accepted_is_told_to_who_has_its_version(world: World) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    made = await admin.client.post(admin.url("/invitations"), json={"email": "x@example.com", "role": "admin"})
    url, known = owner.url(f"/invitations/{made.json()['id']}"), {"if-none-match": made.headers["etag"]}
    assert (await owner.client.get(url, headers=known)).status_code == 304
    demotion = owner.url(f"/members/{admin.membership_id}")
    await owner.client.patch(demotion, json={"role": "viewer"}, headers={"if-match": "*"})
    assert (await owner.client.get(url, headers=known)).json()["acceptable"] is False


async def test_an_expired_invitation_can_be_sent_again(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    early = await token_of(world, invitation)
    await expire(world, invitation)
    again = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))
    assert again.status_code == 200, again.text
    assert (again.json()["status"], again.json()["sendings"], again.json()["acceptable"]) == ("pending", 2, True)
    assert datetime.fromisoformat(again.json()["expires_at"]) > datetime.fromisoformat(invitation["created_at"])
    stranger = world.client()
    dead = await stranger.post("/v1/auth/invitations/preview", json={"token": early})
    assert (dead.status_code, dead.json()["code"]) == (400, "link_invalid")
    alive = await stranger.post("/v1/auth/invitations/preview", json={"token": await token_of(world, invitation)})
    assert alive.status_code == 200, alive.text
    made, (_, then) = await events_of(world, invitation["id"])
    assert made == creation_of(invitation)
    assert then["before"].keys() == then["after"].keys() == {"invited_by", "expires_at", "sendings"}
    assert (then["before"]["sendings"], then["after"]["sendings"]) == (1, 2)
    assert then["before"]["expires_at"] < then["after"]["expires_at"] == again.json()["expires_at"]


async def test_who_answers_for_an_invitation_is_recorded_when_somebody_else_sends_it_again(world: World) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    invitation = await invite(owner)
    assert (await admin.client.post(admin.url(f"/invitations/{invitation['id']}/resending"))).status_code == 200
    _, (_, resent) = await events_of(world, invitation["id"])
    assert [resent[side]["invited_by"] for side in ("before", "after")] == [owner.membership_id, admin.membership_id]


async def test_resending_works_after_the_credential_was_purged(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    await expire(world, invitation)
    await world.superuser.execute("DELETE FROM app.credential WHERE subject_id = $1", to_uuid("inv", invitation["id"]))
    assert (await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))).status_code == 200
    alive = await world.client().post("/v1/auth/invitations/preview", json={"token": await token_of(world, invitation)})
    assert alive.status_code == 200


async def test_a_revoked_invitation_stays_revoked(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    url = owner.url(f"/invitations/{invitation['id']}")
    revoked = await owner.client.post(f"{url}/revocation")
    assert revoked.status_code == 200, revoked.text
    assert (revoked.json()["status"], revoked.json()["acceptable"]) == ("revoked", False)
    for action in ("revocation", "resending"):
        again = await owner.client.post(f"{url}/{action}")
        assert (again.status_code, again.json()["code"]) == (409, "invitation_closed")
    reason = await world.superuser.fetchval(
        "SELECT revoked_reason FROM app.credential WHERE subject_id = $1", to_uuid("inv", invitation["id"])
    )
    assert reason == "revoked"
    assert [kind for kind, _ in await events_of(world, invitation["id"])] == [
        "invitation.created",
        "invitation.revoked",
    ]


async def test_what_became_of_a_member_is_not_resent(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    await world.member(owner.organization_id, "viewer", await world.person(email=invitation["email"]))
    again = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))
    assert (again.status_code, again.json()["code"]) == (409, "already_member")


async def test_invitations_are_listed_by_status_prefix_and_order(world: World) -> None:
    owner = await world.owner()
    made = [await invite(owner, fresh_address(name)) for name in ("zoe", "Bob", "amy", "bea")]
    await owner.client.post(owner.url(f"/invitations/{made[0]['id']}/revocation"))
    names = {row["id"]: row["email"].split(".")[0] for row in made}

    async def found(**query: Any) -> list[str]:
        shown: list[str] = []
        while True:
            page = await owner.client.get(owner.url("/invitations"), params={"limit": 2, **query})
            assert page.status_code == 200, page.text
            shown += [names[row["id"]] for row in page.json()["data"]]
            if page.json()["next_cursor"] is None:
                return shown
            query["cursor"] = page.json()["next_cursor"]

    assert await found() == ["bea", "amy", "Bob", "zoe"]
    assert await found(sort="email") == ["amy", "bea", "Bob", "zoe"]
    assert await found(sort="-email", status="pending") == ["Bob", "bea", "amy"]
    assert await found(status="revoked") == ["zoe"]
    assert await found(email_prefix="B", sort="email") == ["bea", "Bob"]
    for status in ("accepted", "declined", "expired"):
        assert await found(status=status) == []
    assert (await owner.client.get(owner.url("/invitations?status=open"))).status_code == 400


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "a b@example.com",
        "аda@example.com",
        "a@b@c.de",
        "ada@example",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: x@y.de",
    ],
)
async def test_what_is_not_an_address_is_malformed(world: World, email: str) -> None:
    owner = await world.owner()
    answer = await owner.client.post(owner.url("/invitations"), json={"email": email, "role": "member"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/email")


async def test_an_organization_that_is_full_invites_nobody(world: World) -> None:
    owner = await world.owner()
    await world.allow(owner.organization_id, members=1)
    person = {"email": fresh_address(), "role": "member"}
    for path, body in (("/invitations", person), ("/invitations/batch", {"invitations": [person]})):
        full = await owner.client.post(owner.url(path), json=body)
        assert (full.status_code, full.json()["code"]) == (403, "limit_reached")


@pytest.mark.parametrize(
    ("role", "does", "makes"),
    [("owner", 200, 201), ("admin", 200, 201), ("member", 403, 403), ("viewer", 403, 403), ("billing", 403, 403)],
)
async def test_staff_sees_and_sends_invitations(world: World, role: str, does: int, makes: int) -> None:
    owner = await world.owner()
    caller = await world.member(owner.organization_id, role)
    invitation = await invite(owner, role="viewer")
    url = caller.url(f"/invitations/{invitation['id']}")
    assert (await caller.client.get(caller.url("/invitations"))).status_code == does
    assert (await caller.client.get(url)).status_code == does
    new = await caller.client.post(caller.url("/invitations"), json={"email": fresh_address(), "role": "viewer"})
    assert new.status_code == makes
    assert (await caller.client.post(f"{url}/resending")).status_code == does
    assert (await caller.client.post(f"{url}/revocation")).status_code == does


async def test_a_repeated_request_invites_once(world: World) -> None:
    owner = await world.owner()
    body = {"email": fresh_address(), "role": "member"}
    key = {"idempotency-key": new_id("x")}
    first = await owner.client.post(owner.url("/invitations"), json=body, headers=key)
    second = await owner.client.post(owner.url("/invitations"), json=body, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(await letters_for(world, first.json())) == 1


async def test_the_doors_and_the_program_agree_who_grants_what(world: World) -> None:
    names = [*Role, "", "nobody"]
    for granter in names:
        for role in names:
            by_door = await world.superuser.fetchval("SELECT app.may_grant($1, $2)", granter, role)
            assert by_door == may_grant(granter, role), (granter, role)
