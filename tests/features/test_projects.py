"""Projects over HTTP: the worked example does all that a resource here does."""

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from insula.core.ids import new_id, to_uuid
from tests.factories import Member, World


async def create(owner: Member, **fields: Any) -> dict[str, Any]:
    answer = await owner.client.post(owner.url("/projects"), json={"name": "Website", "key": "WEB", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def listed(owner: Member, **query: Any) -> list[str]:
    answer = await owner.client.get(owner.url("/projects"), params=query)
    assert answer.status_code == 200, answer.text
    return [project["key"] for project in answer.json()["data"]]


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_project_is_created_read_changed_deleted_and_restored(world: World) -> None:
    owner = await world.owner()
    project = await create(owner, metadata={"cost_center": "4711"})
    url = owner.url(f"/projects/{project['id']}")
    got = await owner.client.get(url)
    assert got.json() == project
    assert got.headers["etag"] == '"1"'
    assert project["created_by"] == owner.membership_id
    changed = await owner.client.patch(url, json={"name": "Shop"}, headers={"if-match": '"1"'})
    assert (changed.status_code, changed.json()["name"], changed.json()["version"]) == (200, "Shop", 2)
    assert changed.json()["metadata"] == {"cost_center": "4711"}
    assert (await owner.client.delete(url, headers={"if-match": '"1"'})).status_code == 412
    assert (await owner.client.delete(url, headers={"if-match": '"2"'})).status_code == 204
    assert (await owner.client.get(url)).status_code == 404
    deleted = await owner.client.get(owner.url("/deleted-projects"))
    assert [row["id"] for row in deleted.json()["data"]] == [project["id"]]
    restored = await owner.client.post(owner.url(f"/deleted-projects/{project['id']}/restoration"))
    assert restored.status_code == 200
    assert await listed(owner) == ["WEB"]
    again = await owner.client.post(owner.url(f"/deleted-projects/{project['id']}/restoration"))
    assert problem(again) == (409, "not_deleted")


@pytest.mark.parametrize(("before", "after"), [("1", "true"), ("false", "0"), ("1", "1.0"), ("2.0", "2")])
@pytest.mark.parametrize("of", ["project", "organization"])
async def test_what_python_takes_for_the_same_is_a_change(world: World, of: str, before: str, after: str) -> None:
    owner = await world.owner()
    url = owner.url(f"/projects/{(await create(owner))['id']}" if of == "project" else "")
    headers = {"content-type": "application/json", "if-match": "*"}
    for value in (before, after):
        sent = f'{{"metadata": {{"paid": {value}}}}}'
        answer = await owner.client.patch(url, content=sent, headers=headers)
        assert answer.status_code == 200
    for shown in (answer, await owner.client.get(url)):
        assert (json.dumps(shown.json()["metadata"]), shown.headers["etag"]) == (f'{{"paid": {after}}}', '"3"')
    event = (await owner.client.get(owner.url("/events"), params={"type": f"{of}.updated"})).json()["data"][0]
    assert json.dumps(event["data"]["before"]["metadata"]) == f'{{"paid": {before}}}'


async def test_each_change_leaves_one_event_with_what_was_and_what_is(world: World) -> None:
    owner = await world.owner()
    team = (await owner.client.post(owner.url("/teams"), json={"name": "Web"})).json()["id"]
    more = {"status": "archived", "team_id": team, "metadata": {"cost_center": 4711}}
    project = await create(owner, **more)
    url = owner.url(f"/projects/{project['id']}")
    await owner.client.patch(url, json={"name": "Shop", "status": "paused"}, headers={"if-match": "*"})
    await owner.client.patch(url, json={"name": "Shop"}, headers={"if-match": "*"})  # nothing changes: no event
    await owner.client.delete(url, headers={"if-match": "*"})
    await owner.client.post(owner.url(f"/deleted-projects/{project['id']}/restoration"))
    events = (await owner.client.get(owner.url("/events"), params={"target_id": project["id"]})).json()["data"]
    assert [event["type"] for event in reversed(events)] == [
        "project.created",
        "project.updated",
        "project.deleted",
        "project.restored",
    ]
    assert events[3]["data"] == {"name": "Website", "key": "WEB"} | more
    updated = events[2]
    assert updated["data"] == {
        "before": {"name": "Website", "status": "archived"},
        "after": {"name": "Shop", "status": "paused"},
    }


async def test_a_key_is_unique_among_the_organizations_living_projects(world: World) -> None:
    owner, other = await world.owner(), await world.owner()
    first = await create(owner)
    await create(other)  # another organization's key says nothing
    again = await owner.client.post(owner.url("/projects"), json={"name": "Other", "key": "WEB"})
    assert problem(again) == (409, "project_key_taken")
    await owner.client.delete(owner.url(f"/projects/{first['id']}"), headers={"if-match": "*"})
    second = await create(owner)
    conflict = await owner.client.post(owner.url(f"/deleted-projects/{first['id']}/restoration"))
    assert problem(conflict) == (409, "project_key_taken")
    assert "errors" not in conflict.json()  # no body was sent into which a pointer could point
    third = await create(owner, key="SHOP")
    taken = await owner.client.patch(
        owner.url(f"/projects/{third['id']}"), json={"key": second["key"]}, headers={"if-match": "*"}
    )
    assert problem(taken) == (409, "project_key_taken")
    assert [error["pointer"] for error in taken.json()["errors"]] == ["/key"]


@pytest.mark.attack(2)
async def test_a_team_that_is_absent_malformed_or_the_neighbours_is_the_same_to_a_project(world: World) -> None:
    owner, other = await world.owner(), await world.owner()
    theirs = (await other.client.post(other.url("/teams"), json={"name": "Theirs"})).json()["id"]
    bodies = []
    for team in (theirs, new_id("tea"), "tea_nonsense", owner.membership_id):
        answer = await owner.client.post(owner.url("/projects"), json={"name": "X", "key": "XX", "team_id": team})
        assert answer.status_code == 422
        bodies.append({name: value for name, value in answer.json().items() if name != "request_id"})
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["errors"] == [{"pointer": "/team_id", "code": "no_such", "detail": "does not exist"}]
    project = await create(owner)
    moved = await owner.client.patch(
        owner.url(f"/projects/{project['id']}"), json={"team_id": theirs}, headers={"if-match": "*"}
    )
    assert moved.status_code == 422


async def test_a_team_that_cannot_be_restored_any_more_leaves_its_projects_without_one(world: World) -> None:
    owner = await world.owner()
    team = (await owner.client.post(owner.url("/teams"), json={"name": "Web"})).json()
    project = await create(owner, team_id=team["id"])
    assert await listed(owner, team_id=team["id"]) == ["WEB"]
    gone = await owner.client.delete(owner.url(f"/teams/{team['id']}"), headers={"if-match": "*"})
    assert gone.status_code == 204
    await world.superuser.execute(
        "UPDATE app.team SET deleted_at = now() - interval '31 days' WHERE id = $1", to_uuid("tea", team["id"])
    )
    await world.superuser.execute("SELECT app.purge_deleted(interval '30 days', 1000)")
    assert (await owner.client.post(owner.url(f"/deleted-teams/{team['id']}/restoration"))).status_code == 404
    url = owner.url(f"/projects/{project['id']}")
    orphan = await owner.client.get(url, headers={"if-none-match": '"1"'})
    assert (orphan.status_code, orphan.json()["team_id"], orphan.headers["etag"]) == (200, None, '"2"')
    assert datetime.fromisoformat(orphan.json()["updated_at"]) > datetime.fromisoformat(project["updated_at"])
    outdated = await owner.client.patch(url, json={"name": "Mine"}, headers={"if-match": '"1"'})
    assert outdated.status_code == 412
    (told,) = (await owner.client.get(owner.url("/events"), params={"type": "organization.data_purged"})).json()["data"]
    assert (told["data"], told["actor_type"]) == ({"kind": "team", "count": 1}, "system")


async def test_who_takes_a_project_out_of_its_team_makes_one_version_of_it(world: World) -> None:
    owner = await world.owner()
    team = (await owner.client.post(owner.url("/teams"), json={"name": "Web"})).json()
    project = await create(owner, team_id=team["id"])
    url = owner.url(f"/projects/{project['id']}")
    assert (await owner.client.patch(url, json={"team_id": None}, headers={"if-match": '"1"'})).json()["version"] == 2


async def test_lists_are_filtered_sorted_searched_and_paged(world: World) -> None:
    owner = await world.owner()
    for name, key, status in [
        ("alpha one", "A1", "active"),
        ("Alpha Two", "A2", "paused"),
        ("beta", "B1", "active"),
        ("Älpler", "C1", "active"),
    ]:
        await create(owner, name=name, key=key, status=status)
    assert await listed(owner) == ["C1", "B1", "A2", "A1"]
    assert await listed(owner, sort="created_at") == ["A1", "A2", "B1", "C1"]
    assert await listed(owner, sort="name") == ["A1", "A2", "B1", "C1"]
    assert await listed(owner, sort="-name") == ["C1", "B1", "A2", "A1"]
    assert await listed(owner, name_prefix="ALPHA") == ["A1", "A2"], "in the order of names"
    assert await listed(owner, name_prefix="ALPHA", sort="-created_at") == ["A2", "A1"]
    assert await listed(owner, name_prefix="äl") == ["C1"]
    assert await listed(owner, status="paused") == ["A2"]
    assert await listed(owner, key="B1") == ["B1"]
    assert await listed(owner, status="active", name_prefix="alpha", sort="name") == ["A1"]
    for sort in ("created_at", "-created_at", "name", "-name", "updated_at", "-updated_at"):
        found, url = [], owner.url(f"/projects?limit=1&sort={sort}")
        while url:
            page = await owner.client.get(url)
            found += [project["key"] for project in page.json()["data"]]
            url = page.links["next"]["url"] if "next" in page.links else ""
        assert sorted(found) == ["A1", "A2", "B1", "C1"], sort


async def test_a_list_is_walked_by_what_is_stored_and_not_by_how_it_would_be_stored_today(world: World) -> None:
    owner = await world.owner()
    for key in ("A1", "B1", "C1", "D1"):
        await create(owner, name=f"Project {key}", key=key)
    await world.superuser.execute(  # as an older rule for the names had left them: the other way round
        "UPDATE app.project SET name_norm = translate(key, 'ABCD', 'dcba') WHERE tenant_id = $1",
        to_uuid("org", owner.organization_id),
    )
    found, url = [], owner.url("/projects?limit=1&sort=name")
    while url:
        page = await owner.client.get(url)
        found += [project["key"] for project in page.json()["data"]]
        url = page.links["next"]["url"] if "next" in page.links else ""
    assert found == ["D1", "C1", "B1", "A1"]


@pytest.mark.parametrize("limit", [1, 2, 40])
async def test_a_limit_on_projects_is_a_limit(world: World, limit: int) -> None:
    owner = await world.owner()
    await world.allow(owner.organization_id, projects=limit)
    for number in range(limit):
        await create(owner, key=f"P{number}")
    assert problem(await owner.client.post(owner.url("/projects"), json={"name": "X", "key": "THREE"})) == (
        403,
        "limit_reached",
    )


async def test_restoring_makes_no_way_around_the_limit(world: World) -> None:
    owner = await world.owner()
    await world.allow(owner.organization_id, projects=1)
    deleted = await create(owner, key="ONE")
    path = f"/projects/{deleted['id']}"
    assert (await owner.client.delete(owner.url(path), headers={"if-match": "*"})).status_code == 204
    await create(owner, key="TWO")
    restored = await owner.client.post(owner.url(f"/deleted-projects/{deleted['id']}/restoration"))
    assert problem(restored) == (403, "limit_reached")


async def test_who_makes_and_deletes_all_day_fills_no_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.core.quotas.DELETED_AT_LEAST", 2)
    owner = await world.owner()
    await world.allow(owner.organization_id, projects=1)
    made, answers = [], []
    for key in ("ONE", "TWO", "THREE"):
        made.append(await create(owner, key=key))
        path = owner.url(f"/projects/{made[-1]['id']}")
        answers.append(await owner.client.delete(path, headers={"if-match": "*"}))
    assert [answer.status_code for answer in answers] == [204, 204, 403]
    assert problem(answers[-1]) == (403, "limit_reached")
    assert answers[-1].json()["detail"].endswith("may have 2 deleted projects, which go for good after 30 days.")
    restored = await owner.client.post(owner.url(f"/deleted-projects/{made[0]['id']}/restoration"))
    assert problem(restored) == (403, "limit_reached"), "one is there"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"key": "WEB"}, ""),
        ({"name": "", "key": "WEB"}, "/name"),
        ({"name": "   ", "key": "WEB"}, "/name"),
        ({"name": "x" * 201, "key": "WEB"}, "/name"),
        ({"name": "a\nb", "key": "WEB"}, "/name"),
        ({"name": "X", "key": "web"}, "/key"),
        ({"name": "X", "key": "WEB\n"}, "/key"),
        ({"name": "X", "key": "WEB", "status": "gone"}, "/status"),
        ({"name": "X", "key": "WEB", "metadata": {"a": {}}}, "/metadata"),
        ({"name": "X", "key": "WEB", "tenant_id": "x"}, ""),
        ({"name": "X", "key": "WEB", "version": 7}, ""),
    ],
)
@pytest.mark.attack(92)
async def test_what_is_wrong_with_a_body_is_said_where_it_is(world: World, body: dict[str, Any], pointer: str) -> None:
    owner = await world.owner()
    answer = await owner.client.post(owner.url("/projects"), json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert any(error["pointer"].startswith(pointer) for error in answer.json()["errors"]), answer.text


async def test_what_was_deleted_long_ago_is_purged_and_nothing_else(world: World) -> None:
    owner = await world.owner()
    kept, old = await create(owner, key="KEPT"), await create(owner, key="OLD")
    for project in (kept, old):
        await owner.client.delete(owner.url(f"/projects/{project['id']}"), headers={"if-match": "*"})
    await world.superuser.execute(
        "UPDATE app.project SET deleted_at = now() - interval '31 days' WHERE id = $1", to_uuid("prj", old["id"])
    )
    await world.superuser.execute("SELECT app.purge_deleted(interval '30 days', 1000)")
    left = (await owner.client.get(owner.url("/deleted-projects"))).json()["data"]
    assert [project["id"] for project in left] == [kept["id"]]
