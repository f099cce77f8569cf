"""Members over HTTP: found, changed, suspended, removed, leaving, handing over."""

import json
from typing import Any

import asyncpg
import httpx
import pytest

from insula.core.ids import new_id, to_uuid
from tests.factories import Member, World

ROLES = ("owner", "admin", "member", "billing", "viewer")


async def change(actor: Member, target: Member, **fields: Any) -> httpx.Response:
    return await actor.client.patch(
        actor.url(f"/members/{target.membership_id}"), json=fields, headers={"if-match": "*"}
    )


async def act(actor: Member, target: Member, action: str) -> httpx.Response:
    return await actor.client.post(actor.url(f"/members/{target.membership_id}/{action}"))


async def remove(actor: Member, target: Member) -> httpx.Response:
    return await actor.client.delete(actor.url(f"/members/{target.membership_id}"), headers={"if-match": "*"})


async def house(world: World) -> dict[str, Member]:
    """An organization with one member of each role."""
    owner = await world.owner()
    return {"owner": owner} | {role: await world.member(owner.organization_id, role) for role in ROLES[1:]}


async def recorded(superuser: asyncpg.Connection, member: Member) -> list[tuple[str, dict[str, Any]]]:
    rows = await superuser.fetch(
        "SELECT type, data::text AS data FROM app.event WHERE target_id = $1 ORDER BY id", member.membership_id
    )
    return [(row["type"], json.loads(row["data"])) for row in rows]


async def owners_of(superuser: asyncpg.Connection, organization: str) -> int:
    found: int = await superuser.fetchval(
        "SELECT count(*) FROM app.membership WHERE tenant_id = $1 AND role = 'owner' AND status = 'active'",
        to_uuid("org", organization),
    )
    return found


async def test_members_are_filtered_by_role_status_and_how_their_name_or_address_begins(world: World) -> None:
    owner = await world.owner()
    mark = new_id("x")[-8:]
    people = [
        ("Zoë Straße", "zoe"),
        ("Adam Archer", "adam"),
        ("adam baker", "baker"),
        ("Mia Moreno", "mia"),
    ]
    for name, word in people:
        person = await world.person(name, f"{word}.{mark}@example.com")
        await world.member(owner.organization_id, "viewer" if word == "mia" else "member", person)

    async def names(**params: str) -> list[str]:
        answer = await owner.client.get(owner.url("/members"), params=params)
        assert answer.status_code == 200, answer.text
        return [row["name"] for row in answer.json()["data"]]

    assert await names(role="viewer") == ["Mia Moreno"]
    assert await names(name_prefix="ADAM", sort="name") == ["Adam Archer", "adam baker"]
    assert await names(name_prefix="zoë stra") == ["Zoë Straße"]
    assert await names(name_prefix="zoë strass") == ["Zoë Straße"]
    assert await names(email_prefix="BAKER.") == ["adam baker"]
    assert await names(status="suspended") == []
    assert await names(user_id=owner.person.id) == [owner.person.name]
    assert (await owner.client.get(owner.url("/members"), params={"role": "king"})).status_code == 400
    assert (await owner.client.get(owner.url("/members"), params={"sort": "status"})).status_code == 400


@pytest.mark.parametrize("sort", ["name", "-name", "email", "-email", "created_at", "-created_at"])
async def test_every_sort_of_members_walks_all_pages_without_a_gap(world: World, sort: str) -> None:
    owner = await world.owner()
    for name in ("Same", "Same", "other", "Zed", "Éa"):
        await world.member(owner.organization_id, "member", await world.person(name))
    seen: list[dict[str, Any]] = []
    params = {"limit": "2", "sort": sort}
    while True:
        page = (await owner.client.get(owner.url("/members"), params=params)).json()
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert len({row["id"] for row in seen}) == len(seen) == 6
    key = sort.removeprefix("-")
    values = [row["id"] if key == "created_at" else row[key].casefold() for row in seen]
    assert values == sorted(values, reverse=sort.startswith("-"))


async def test_members_are_seen_by_those_who_work_here_only(world: World) -> None:
    members, stranger = await house(world), await world.owner()
    path = f"/members/{members['viewer'].membership_id}"
    for role, expected in {"owner": 200, "admin": 200, "member": 200, "viewer": 200, "billing": 403}.items():
        assert (await members[role].client.get(members[role].url("/members"))).status_code == expected
        assert (await members[role].client.get(members[role].url(path))).status_code == expected
        assert (await members[role].client.get(members[role].url("/members/me"))).status_code == 200
    assert (await stranger.client.get(members["owner"].url(path))).status_code == 404
    assert (await stranger.client.get(stranger.url(path))).status_code == 404


async def test_a_role_and_a_name_are_changed_with_the_version_that_was_read(
    world: World, superuser: asyncpg.Connection
) -> None:
    members = await house(world)
    admin, member = members["admin"], members["member"]
    url = admin.url(f"/members/{member.membership_id}")
    read = await admin.client.get(url)
    changed = await admin.client.patch(
        url, json={"role": "viewer", "name": "New Name"}, headers={"if-match": read.headers["etag"]}
    )
    assert changed.status_code == 200, changed.text
    body = changed.json()
    assert (body["role"], body["name"], body["version"]) == ("viewer", "New Name", 2)
    stale = await admin.client.patch(url, json={"role": "member"}, headers={"if-match": read.headers["etag"]})
    assert stale.status_code == 412
    assert (await admin.client.patch(url, json={"role": "member"})).status_code == 428
    assert await recorded(superuser, member) == [
        (
            "member.updated",
            {"before": {"role": "member"}, "after": {"role": "viewer"}},
        ),
    ]
    found = await admin.client.get(admin.url("/members"), params={"name_prefix": "new na"})
    assert [row["id"] for row in found.json()["data"]] == [member.membership_id]
    assert (await member.client.post(member.url("/projects"), json={"name": "P", "key": "PP"})).status_code == 403


async def test_nothing_changed_is_nothing_recorded(world: World, superuser: asyncpg.Connection) -> None:
    members = await house(world)
    same = await change(members["owner"], members["member"], role="member")
    assert (same.status_code, same.json()["version"]) == (200, 1)
    assert await recorded(superuser, members["member"]) == []


async def test_members_name_themselves_and_change_nothing_else_of_themselves(world: World) -> None:
    for role, member in (await house(world)).items():
        url = member.url("/members/me")
        renamed = await member.client.patch(url, json={"name": f"I am {role}"}, headers={"if-match": '"1"'})
        assert renamed.status_code == 200, renamed.text
        assert renamed.json()["name"] == f"I am {role}"
        assert (await member.client.get(url)).json() == renamed.json()
        for fields in ({"role": "owner"}, {"status": "active"}, {"email": "x@example.com"}):
            assert (await member.client.patch(url, json=fields, headers={"if-match": "*"})).status_code == 400


async def test_a_suspended_member_is_refused_at_once_and_comes_back_when_reinstated(
    world: World, superuser: asyncpg.Connection
) -> None:
    members = await house(world)
    owner, viewer = members["owner"], members["viewer"]
    assert (await viewer.client.get(viewer.url(""))).status_code == 200
    suspended = await act(owner, viewer, "suspension")
    assert (suspended.status_code, suspended.json()["status"]) == (200, "suspended")
    for path in ("", "/members/me", "/access", "/projects"):
        assert (await viewer.client.get(viewer.url(path))).status_code == 403
    # Of the same permission as their own profile: within a minute it says nothing new.
    assert (await viewer.client.post(viewer.url("/departure"))).status_code == 403
    mine = (await viewer.client.get("/v1/me/organizations")).json()["data"]
    assert [row["member_status"] for row in mine] == ["suspended"]
    assert (await act(owner, viewer, "suspension")).json()["version"] == 2
    back = await act(owner, viewer, "reinstatement")
    assert (back.status_code, back.json()["status"], back.json()["version"]) == (200, "active", 3)
    assert (await viewer.client.get(viewer.url(""))).status_code == 200
    names = [name for name, _ in await recorded(superuser, viewer)]
    assert names == ["member.suspended", *["access.denied"] * 4, "member.reinstated"]


@pytest.mark.attack(30)
@pytest.mark.attack(7)
async def test_a_removed_members_very_next_request_fails_here_and_works_elsewhere(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner, elsewhere = await world.owner(), await world.owner()
    member = await world.member(owner.organization_id, "admin")
    other = await world.member(elsewhere.organization_id, "viewer", member.person)
    second_session = world.client(await world.session(member.person.id))
    for client in (member.client, second_session):
        assert (await client.get(member.url(""))).status_code == 200
    assert (await remove(owner, member)).status_code == 204
    for client in (member.client, second_session):
        for method, path in (("GET", ""), ("GET", "/members"), ("POST", "/departure")):
            assert (await client.request(method, member.url(path))).status_code == 404
        assert (await client.get(other.url(""))).status_code == 200
    assert [name for name, _ in await recorded(superuser, member)] == ["member.removed"]
    assert (await remove(owner, member)).status_code == 404


async def test_with_a_member_their_places_in_teams_go(world: World, superuser: asyncpg.Connection) -> None:
    members = await house(world)
    owner, member = members["owner"], members["member"]
    team = (await owner.client.post(owner.url("/teams"), json={"name": "T"})).json()
    for each in (owner, member):
        path = f"/teams/{team['id']}/members/{each.membership_id}"
        assert (await owner.client.put(owner.url(path))).status_code == 200
    assert (await remove(owner, member)).status_code == 204
    left = (await owner.client.get(owner.url(f"/teams/{team['id']}/members"))).json()["data"]
    assert [row["member_id"] for row in left] == [owner.membership_id]


async def test_every_role_may_leave_but_the_last_owner(world: World, superuser: asyncpg.Connection) -> None:
    members = await house(world)
    for role in ROLES[1:]:
        assert (await members[role].client.post(members[role].url("/departure"))).status_code == 204
        assert (await members[role].client.get(members[role].url(""))).status_code == 404
        assert [name for name, _ in await recorded(superuser, members[role])] == ["member.left"]
    owner = members["owner"]
    refused = await owner.client.post(owner.url("/departure"))
    assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
    second = await world.member(owner.organization_id, "owner")
    assert (await owner.client.post(owner.url("/departure"))).status_code == 204
    assert (await second.client.get(second.url(""))).status_code == 200


async def test_the_last_active_owner_cannot_stop_being_one(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    resting = await world.member(owner.organization_id, "owner")
    assert (await act(owner, resting, "suspension")).status_code == 200
    for answer in (
        await change(owner, owner, role="admin"),
        await act(owner, owner, "suspension"),
        await remove(owner, owner),
        await owner.client.post(owner.url("/departure")),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
    assert (await change(owner, owner, role="owner")).status_code == 200
    assert await owners_of(superuser, owner.organization_id) == 1
    assert (await remove(owner, resting)).status_code == 204


async def test_ownership_goes_to_another_member_and_its_giver_becomes_an_admin(
    world: World, superuser: asyncpg.Connection
) -> None:
    members = await house(world)
    owner, heir = members["owner"], members["billing"]
    given = await owner.client.post(owner.url("/ownership-transfer"), json={"member_id": heir.membership_id})
    assert given.status_code == 200, given.text
    assert (given.json()["id"], given.json()["role"]) == (heir.membership_id, "owner")
    me = (await owner.client.get(owner.url("/members/me"))).json()
    assert me["role"] == "admin"
    again = await owner.client.post(owner.url("/ownership-transfer"), json={"member_id": heir.membership_id})
    assert again.status_code == 403
    assert await recorded(superuser, heir) == [
        ("member.updated", {"before": {"role": "billing"}, "after": {"role": "owner"}})
    ]
    event = await superuser.fetchval(
        "SELECT data::text FROM app.event WHERE type = 'organization.ownership_transferred' AND target_id = $1",
        owner.organization_id,
    )
    assert json.loads(event) == {"from_member_id": owner.membership_id, "to_member_id": heir.membership_id}


async def test_ownership_goes_to_nobody_unknown_suspended_or_oneself(world: World) -> None:
    members, stranger = await house(world), await world.owner()
    owner, viewer = members["owner"], members["viewer"]
    await act(owner, viewer, "suspension")
    for member_id, status in (
        (new_id("mem"), 422),
        ("nonsense", 422),
        (stranger.membership_id, 422),
        (owner.membership_id, 422),
        (viewer.membership_id, 409),
    ):
        answer = await owner.client.post(owner.url("/ownership-transfer"), json={"member_id": member_id})
        assert answer.status_code == status, answer.text
    for role in ROLES[1:4]:
        other = members[role]
        answer = await other.client.post(other.url("/ownership-transfer"), json={"member_id": other.membership_id})
        assert answer.status_code == 403


@pytest.mark.parametrize("role", ["owner", "admin"])
async def test_nobody_suspends_themselves(world: World, role: str) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, role)
    answer = await act(member, member, "suspension")
    assert (answer.status_code, answer.json()["code"]) == (409, "suspends_yourself")
    assert (await member.client.get(member.url("/members"))).status_code == 200
