"""If-Match on verbs that do not insist on it: what is sent is checked all the same (RFC 9110, section 13.1.1)."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.factories import Member, World
from tests.invitations import DECLINE, invite, token_of

Place = Callable[[World, Member], Awaitable[tuple[str, dict[str, Any], str]]]
"""Where a verb is, what is sent to it, and the tag of what it changes."""


async def member(world: World, owner: Member, verb: str) -> tuple[str, dict[str, Any], str]:
    other = await world.member(owner.organization_id, "member")
    place = owner.url(f"/members/{other.membership_id}")
    if verb == "reinstatement":
        assert (await owner.client.post(f"{place}/suspension")).status_code == 200
    return f"{place}/{verb}", {}, (await owner.client.get(place)).headers["etag"]


async def suspension(world: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    return await member(world, owner, "suspension")


async def reinstatement(world: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    return await member(world, owner, "reinstatement")


async def transfer(world: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    heir = await world.member(owner.organization_id, "admin")
    await owner.client.patch(
        owner.url(f"/members/{heir.membership_id}"), json={"name": "Heir"}, headers={"if-match": "*"}
    )
    tag = (await owner.client.get(owner.url(f"/members/{heir.membership_id}"))).headers["etag"]
    assert tag == '"2"'
    return owner.url("/ownership-transfer"), {"json": {"member_id": heir.membership_id}}, tag


async def departure(world: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    other = await world.member(owner.organization_id, "owner")
    await other.client.patch(
        owner.url(f"/members/{owner.membership_id}"), json={"name": "Old"}, headers={"if-match": "*"}
    )
    return owner.url("/departure"), {}, (await owner.client.get(owner.url("/members/me"))).headers["etag"]


async def revocation(_: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    place = owner.url(f"/invitations/{(await invite(owner))['id']}")
    return f"{place}/revocation", {}, (await owner.client.get(place)).headers["etag"]


async def resending(_: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    place = owner.url(f"/invitations/{(await invite(owner))['id']}")
    return f"{place}/resending", {}, (await owner.client.get(place)).headers["etag"]


async def restored(owner: Member, kind: str, body: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    made = await owner.client.post(owner.url(f"/{kind}"), json=body)
    await owner.client.delete(owner.url(f"/{kind}/{made.json()['id']}"), headers={"if-match": "*"})
    (row,) = (await owner.client.get(owner.url(f"/deleted-{kind}"))).json()["data"]
    return owner.url(f"/deleted-{kind}/{row['id']}/restoration"), {}, f'"{row["version"]}"'


async def project_restoration(_: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    return await restored(owner, "projects", {"name": "Website", "key": "WEB"})


async def team_restoration(_: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    return await restored(owner, "teams", {"name": "Design"})


async def organization_restoration(_: World, owner: Member) -> tuple[str, dict[str, Any], str]:
    assert (await owner.client.delete(owner.url(""), headers={"if-match": '"1"'})).status_code == 204
    return owner.url("/restoration"), {}, '"2"'


ACTIONS: list[Place] = [
    suspension,
    reinstatement,
    transfer,
    departure,
    revocation,
    resending,
    project_restoration,
    team_restoration,
    organization_restoration,
]


@pytest.mark.parametrize("place", ACTIONS)
async def test_an_action_is_not_done_to_another_version_than_was_read(world: World, place: Place) -> None:
    owner = await world.owner()
    url, options, tag = await place(world, owner)
    for other in ('"999"', '"0"', '"a"', f"W/{tag}"):
        refused = await owner.client.post(url, headers={"if-match": other}, **options)
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed"), refused.text
    malformed = await owner.client.post(url, headers={"if-match": "1"}, **options)
    assert (malformed.status_code, malformed.json()["errors"][0]["pointer"]) == (400, "header/If-Match")
    done = await owner.client.post(url, headers={"if-match": tag}, **options)
    assert done.is_success, done.text


@pytest.mark.parametrize("place", ACTIONS)
@pytest.mark.parametrize("headers", [{}, {"if-match": "*"}])
async def test_an_action_may_be_asked_for_without_a_version(
    world: World, place: Place, headers: dict[str, str]
) -> None:
    owner = await world.owner()
    url, options, _ = await place(world, owner)
    done = await owner.client.post(url, headers=headers, **options)
    assert done.is_success, done.text


async def test_who_may_not_act_is_told_that_and_not_which_version_there_is(world: World) -> None:
    owner = await world.owner()
    url, _, _ = await suspension(world, owner)
    viewer = await world.member(owner.organization_id, "viewer")
    answer = await viewer.client.post(url, headers={"if-match": '"999"'})
    assert answer.status_code == 403


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', '"a"', '"1", "2"'])
async def test_where_nothing_has_a_tag_none_is_the_current_one(world: World, tag: str) -> None:
    owner = await world.owner()
    other = await world.member(owner.organization_id, "member")
    team = (await owner.client.post(owner.url("/teams"), json={"name": "Design"})).json()["id"]
    seat = owner.url(f"/teams/{team}/members/{other.membership_id}")
    token = await token_of(world, await invite(owner))
    for method, url, body in [
        ("POST", owner.url("/projects"), {"name": "Website", "key": "WEB"}),
        ("PUT", seat, None),
        ("POST", "/v1/me/sessions/revocation", {"include_current": True}),
        ("POST", DECLINE, {"token": token}),
    ]:
        options = {} if body is None else {"json": body}
        refused = await owner.client.request(method, url, headers={"if-match": tag}, **options)
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed"), (url, refused.text)
    assert (await owner.client.get(owner.url("/projects"))).json()["data"] == []
    malformed = await owner.client.put(seat, headers={"if-match": "x"})
    assert malformed.status_code == 400
    assert (await owner.client.put(seat, headers={"if-match": "*"})).status_code == 200
    assert (await world.client().post(DECLINE, json={"token": token})).status_code == 204


async def test_a_condition_on_what_is_only_read_changes_nothing(world: World) -> None:
    owner = await world.owner()
    assert (await owner.client.get(owner.url("/projects"), headers={"if-match": '"1"'})).status_code == 200
    assert (await owner.client.request("OPTIONS", owner.url("/projects"), headers={"if-match": '"1"'})).is_success
