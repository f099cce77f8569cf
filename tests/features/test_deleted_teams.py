"""Teams that were deleted, and those that are back."""

from typing import Any

from insula.core.ids import new_id
from tests.factories import Member, World
from tests.features.test_teams import events_of, team_of


async def test_a_deleted_team_comes_back_with_its_members_and_what_it_owned(world: World) -> None:
    owner = await world.owner()
    team = await team_of(owner)
    place = owner.url(f"/teams/{team['id']}/members/{owner.membership_id}")
    member = (await owner.client.put(place)).json()
    new = {"name": "Website", "key": "WEB", "team_id": team["id"]}
    project = (await owner.client.post(owner.url("/projects"), json=new)).json()
    await delete(owner, team)

    assert (await owner.client.get(owner.url("/teams"))).json()["data"] == []
    assert (await owner.client.get(owner.url(f"/members/{owner.membership_id}/teams"))).json()["data"] == []
    for answer in (
        await owner.client.get(owner.url(f"/teams/{team['id']}/members")),
        await owner.client.put(place),
        await owner.client.delete(place),
    ):
        assert answer.status_code == 404
    assert (await owner.client.get(owner.url(f"/projects/{project['id']}"))).json() == project
    (hidden,) = (await owner.client.get(owner.url("/deleted-teams"))).json()["data"]
    assert (hidden["id"], hidden["deleted_at"] is None) == (team["id"], False)

    restoration = owner.url(f"/deleted-teams/{team['id']}/restoration")
    back = await owner.client.post(restoration)
    assert (back.status_code, back.json()["deleted_at"]) == (200, None), back.text
    again = await owner.client.post(restoration)
    assert (again.status_code, again.json()["code"]) == (409, "not_deleted")
    assert (await owner.client.get(owner.url(f"/teams/{team['id']}/members"))).json()["data"] == [member]
    assert (await owner.client.get(owner.url("/projects"), params={"team_id": team["id"]})).json()["data"] == [project]
    kinds = [kind for kind, _ in await events_of(world, team["id"])]
    assert kinds == ["team.created", "team.member_added", "team.deleted", "team.restored"]


async def test_a_deleted_team_gets_no_projects(world: World) -> None:
    owner = await world.owner()
    team, other = await team_of(owner), await team_of(owner, "Sales")
    new = {"name": "Website", "key": "WEB", "team_id": team["id"]}
    made = await owner.client.post(owner.url("/projects"), json=new)
    url = owner.url(f"/projects/{made.json()['id']}")
    free = await owner.client.post(owner.url("/projects"), json={"name": "Shop", "key": "SHOP"})
    moved = owner.url(f"/projects/{free.json()['id']}")
    await delete(owner, team)
    for answer in (
        await owner.client.post(owner.url("/projects"), json=new | {"key": "NEW"}),
        await owner.client.patch(moved, json={"team_id": team["id"]}, headers={"if-match": "*"}),
    ):
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/team_id"), answer.text
    # What it has can be changed, and given to another team.
    kept = await owner.client.patch(url, json={"name": "Site", "team_id": team["id"]}, headers={"if-match": "*"})
    assert (kept.status_code, kept.json()["team_id"]) == (200, team["id"]), kept.text
    given = await owner.client.patch(url, json={"team_id": other["id"]}, headers={"if-match": "*"})
    assert (given.status_code, given.json()["team_id"]) == (200, other["id"]), given.text


async def test_where_there_is_no_room_what_never_was_is_unknown_all_the_same(world: World) -> None:
    owner = await world.owner()
    team = await team_of(owner)
    await world.allow(owner.organization_id, teams=1, projects=0)
    for path in ("deleted-teams/tea_nope", f"deleted-teams/{new_id('tea')}", "deleted-projects/prj_nope"):
        assert (await owner.client.post(owner.url(f"/{path}/restoration"))).status_code == 404
    await delete(owner, team)
    await team_of(owner, "Another")
    full = await owner.client.post(owner.url(f"/deleted-teams/{team['id']}/restoration"))
    assert (full.status_code, full.json()["code"]) == (403, "limit_reached")


async def test_a_deleted_teams_name_is_free_and_its_restoration_then_a_conflict(world: World) -> None:
    owner = await world.owner()
    team = await team_of(owner)
    await delete(owner, team)
    await team_of(owner)
    back = await owner.client.post(owner.url(f"/deleted-teams/{team['id']}/restoration"))
    assert (back.status_code, back.json()["code"]) == (409, "team_name_taken")
    assert "errors" not in back.json()


async def delete(owner: Member, team: dict[str, Any]) -> None:
    gone = await owner.client.delete(owner.url(f"/teams/{team['id']}"), headers={"if-match": "*"})
    assert gone.status_code == 204, gone.text
