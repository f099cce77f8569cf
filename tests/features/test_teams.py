"""Teams over HTTP."""

import asyncio
import json
from typing import Any

import pytest

from insula.core.ids import new_id
from insula.features.teams.service import TeamService
from tests.factories import Member, World


async def team_of(member: Member, name: str = "Design", **fields: Any) -> dict[str, Any]:
    made = await member.client.post(member.url("/teams"), json={"name": name, **fields})
    assert made.status_code == 201, made.text
    team: dict[str, Any] = made.json()
    return team


async def events_of(world: World, target: str) -> list[tuple[str, dict[str, Any]]]:
    rows = await world.superuser.fetch(
        "SELECT type, data::text FROM app.event WHERE target_id = $1 ORDER BY id", target
    )
    return [(row["type"], json.loads(row["data"])) for row in rows]


async def test_a_team_is_made_read_changed_and_deleted(world: World) -> None:
    owner = await world.owner()
    made = await owner.client.post(owner.url("/teams"), json={"name": "Design", "description": "Draws."})
    assert made.status_code == 201, made.text
    team = made.json()
    assert team["id"].startswith("tea_")
    assert made.headers["etag"] == '"1"'
    url = owner.url(f"/teams/{team['id']}")
    assert (await owner.client.get(url)).json() == team

    assert (await owner.client.patch(url, json={"name": "Brand"})).status_code == 428
    changed = await owner.client.patch(url, json={"name": "Brand"}, headers={"if-match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["name"], changed.json()["version"]) == ("Brand", 2)
    assert changed.json()["description"] == "Draws."
    assert (await owner.client.patch(url, json={"name": "X"}, headers={"if-match": '"1"'})).status_code == 412

    assert (await owner.client.delete(url, headers={"if-match": '"1"'})).status_code == 412
    assert (await owner.client.delete(url, headers={"if-match": '"2"'})).status_code == 204
    assert (await owner.client.get(url)).status_code == 404
    assert await events_of(world, team["id"]) == [
        ("team.created", {"name": "Design", "description": "Draws."}),
        ("team.updated", {"before": {"name": "Design"}, "after": {"name": "Brand"}}),
        ("team.deleted", {"name": "Brand"}),
    ]


async def test_a_change_that_changes_nothing_leaves_no_trace(world: World) -> None:
    owner = await world.owner()
    team = await team_of(owner)
    same = await owner.client.patch(
        owner.url(f"/teams/{team['id']}"), json={"name": "Design"}, headers={"if-match": "*"}
    )
    assert same.json() == team
    assert [kind for kind, _ in await events_of(world, team["id"])] == ["team.created"]


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("foo  b", ["Foo  bar"]),
        ("foo\u00a0\tb", ["Foo  bar"]),
        ("  foo b", ["Foo  bar"]),
        ("foo", ["Foo", "Foo  bar", "Foobar"]),
        ("foo ", ["Foo  bar"]),
        ("foo  ", ["Foo  bar"]),
        ("Foo  bar  ", []),
        (" ", ["Foo", "Foo  bar", "Foobar", "Other"]),
    ],
)
async def test_a_name_is_looked_for_as_it_is_compared(world: World, sought: str, found: list[str]) -> None:
    """Blanks between words are one, those in front are none, and one at the end says that another word follows."""
    owner = await world.owner()
    for name in ("Other", "Foobar", "Foo  bar", "Foo"):
        assert (await owner.client.post(owner.url("/teams"), json={"name": name})).status_code == 201
    answer = await owner.client.get(owner.url("/teams"), params={"name_prefix": sought, "sort": "name"})
    assert [row["name"] for row in answer.json()["data"]] == found


@pytest.mark.parametrize("name", ["design   TEAM", "De\u0301sign Team"])
async def test_two_teams_of_an_organization_cannot_share_a_name(world: World, name: str) -> None:
    owner = await world.owner()
    await team_of(owner, "Design Team")
    await team_of(owner, "D\u00e9sign Team")
    again = await owner.client.post(owner.url("/teams"), json={"name": name})
    assert (again.status_code, again.json()["code"]) == (409, "team_name_taken")
    other = await team_of(owner, "Sales")
    renamed = await owner.client.patch(
        owner.url(f"/teams/{other['id']}"), json={"name": "DESIGN TEAM"}, headers={"if-match": "*"}
    )
    assert (renamed.status_code, renamed.json()["code"]) == (409, "team_name_taken")
    await team_of(await world.owner(), "Design Team")


async def test_teams_are_listed_by_name_by_age_and_by_prefix(world: World) -> None:
    owner = await world.owner()
    for name in ("sales", "Alpha", "beta", "Salary"):
        await team_of(owner, name)

    async def names(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = await owner.client.get(owner.url("/teams"), params={"limit": 3, **query})
            assert page.status_code == 200, page.text
            found += [team["name"] for team in page.json()["data"]]
            if page.json()["next_cursor"] is None:
                return found
            query["cursor"] = page.json()["next_cursor"]

    assert await names() == ["Salary", "beta", "Alpha", "sales"]
    assert await names(sort="created_at") == ["sales", "Alpha", "beta", "Salary"]
    assert await names(sort="name") == ["Alpha", "beta", "Salary", "sales"]
    assert await names(sort="-name") == ["sales", "Salary", "beta", "Alpha"]
    assert await names(name_prefix="SAL", sort="name") == ["Salary", "sales"]
    assert (await owner.client.get(owner.url("/teams?sort=description"))).status_code == 400


async def test_members_come_into_a_team_once_and_leave_it(world: World) -> None:
    owner = await world.owner()
    ada = await world.member(owner.organization_id, "member", await world.person("Ada"))
    team = await team_of(owner)
    place = owner.url(f"/teams/{team['id']}/members/{ada.membership_id}")

    first = await owner.client.put(place)
    assert first.status_code == 200, first.text
    row = first.json()
    assert (row["member_id"], row["name"], row["email"], row["role"]) == (
        ada.membership_id,
        "Ada",
        ada.person.email,
        "member",
    )
    assert (await owner.client.put(place)).json() == row
    members = await ada.client.get(owner.url(f"/teams/{team['id']}/members"))
    assert members.json()["data"] == [row]
    teams = await ada.client.get(owner.url(f"/members/{ada.membership_id}/teams"))
    assert teams.json()["data"] == [team]

    assert (await owner.client.delete(place)).status_code == 204
    assert (await owner.client.delete(place)).status_code == 404
    assert (await ada.client.get(owner.url(f"/teams/{team['id']}/members"))).json()["data"] == []
    assert [kind for kind, _ in await events_of(world, team["id"])] == [
        "team.created",
        "team.member_added",
        "team.member_removed",
    ]


async def test_the_same_member_added_twenty_times_at_once_is_added_once(world: World) -> None:
    owner = await world.owner()
    team = await team_of(owner)
    place = owner.url(f"/teams/{team['id']}/members/{owner.membership_id}")
    answers = await asyncio.gather(*(owner.client.put(place) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    kinds = [kind for kind, _ in await events_of(world, team["id"])]
    assert kinds == ["team.created", "team.member_added"]


async def test_the_members_of_a_team_are_listed_in_pages(world: World) -> None:
    owner = await world.owner()
    team = await team_of(owner)
    joined = []
    for _ in range(5):
        member = await world.member(owner.organization_id, "viewer")
        await owner.client.put(owner.url(f"/teams/{team['id']}/members/{member.membership_id}"))
        joined.append(member.membership_id)
    url, seen = owner.url(f"/teams/{team['id']}/members"), []
    query: dict[str, Any] = {"limit": 2, "sort": "created_at"}
    while True:
        page = (await owner.client.get(url, params=query)).json()
        seen += [row["member_id"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == joined


async def test_a_removed_member_is_in_no_team(world: World) -> None:
    owner = await world.owner()
    ada = await world.member(owner.organization_id, "member")
    team = await team_of(owner)
    await owner.client.put(owner.url(f"/teams/{team['id']}/members/{ada.membership_id}"))
    await world.superuser.execute("DELETE FROM app.membership WHERE email = $1", ada.person.email)
    assert (await owner.client.get(owner.url(f"/teams/{team['id']}/members"))).json()["data"] == []
    assert (await owner.client.get(owner.url(f"/members/{ada.membership_id}/teams"))).status_code == 404


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [("owner", 200, 201), ("admin", 200, 201), ("member", 200, 403), ("viewer", 200, 403), ("billing", 403, 403)],
)
async def test_staff_write_teams_and_readers_read_them(world: World, role: str, reads: int, writes: int) -> None:
    owner = await world.owner()
    team = await team_of(owner)
    caller = await world.member(owner.organization_id, role)
    assert (await caller.client.get(caller.url("/teams"))).status_code == reads
    assert (await caller.client.get(caller.url(f"/teams/{team['id']}/members"))).status_code == reads
    assert (await caller.client.get(caller.url(f"/members/{caller.membership_id}/teams"))).status_code == reads
    assert (await caller.client.post(caller.url("/teams"), json={"name": f"Of {role}"})).status_code == writes
    put = await caller.client.put(caller.url(f"/teams/{team['id']}/members/{caller.membership_id}"))
    assert put.status_code == (200 if writes == 201 else 403)


@pytest.mark.attack(1)
async def test_a_neighbours_team_is_as_unknown_as_one_that_never_was(world: World) -> None:
    ours, theirs = await world.owner(), await world.owner()
    team = await team_of(theirs)

    def answer(response: Any) -> tuple[int, Any]:
        return response.status_code, {k: v for k, v in response.json().items() if k != "request_id"}

    for method, path, options in (
        ("GET", "/teams/{}", {}),
        ("PATCH", "/teams/{}", {"json": {"name": "Mine"}, "headers": {"if-match": "*"}}),
        ("DELETE", "/teams/{}", {"headers": {"if-match": "*"}}),
        ("GET", "/teams/{}/members", {}),
        ("PUT", f"/teams/{{}}/members/{ours.membership_id}", {}),
        ("DELETE", f"/teams/{{}}/members/{ours.membership_id}", {}),
    ):
        answers = [
            answer(await ours.client.request(method, ours.url(path.format(team_id)), **options))
            for team_id in (team["id"], new_id("tea"), new_id("prj"), "nonsense")
        ]
        assert answers[0][0] == 404
        assert all(found == answers[0] for found in answers)
    assert (await theirs.client.get(theirs.url(f"/teams/{team['id']}"))).json() == team


@pytest.mark.attack(2)
async def test_a_neighbours_member_cannot_be_put_into_our_team(world: World) -> None:
    ours, theirs = await world.owner(), await world.owner()
    team = await team_of(ours)
    answers = [
        await ours.client.put(ours.url(f"/teams/{team['id']}/members/{member_id}"))
        for member_id in (theirs.membership_id, new_id("mem"), "nonsense")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["title"] for answer in answers}) == 1
    assert (await ours.client.get(ours.url(f"/members/{theirs.membership_id}/teams"))).status_code == 404


@pytest.mark.attack(92)
async def test_fields_that_are_not_the_callers_to_set_are_refused(world: World) -> None:
    owner = await world.owner()
    for field in ("id", "tenant_id", "version", "created_at", "name_norm"):
        made = await owner.client.post(owner.url("/teams"), json={"name": "Design", field: "x"})
        assert made.status_code == 400, field


async def test_a_limit_on_teams_is_a_limit(world: World) -> None:
    owner = await world.owner()
    await world.allow(owner.organization_id, teams=2)
    answers = [await owner.client.post(owner.url("/teams"), json={"name": f"Team {n}"}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 403]
    assert answers[-1].json()["code"] == "limit_reached"
    assert answers[-1].json()["detail"] == "This organization may have 2 teams."


async def test_who_forms_and_dissolves_all_day_fills_no_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.core.quotas.DELETED_AT_LEAST", 2)
    owner = await world.owner()
    await world.allow(owner.organization_id, teams=1)
    answers = []
    for number in range(3):
        made = (await owner.client.post(owner.url("/teams"), json={"name": f"Team {number}"})).json()
        path = owner.url(f"/teams/{made['id']}")
        answers.append(await owner.client.delete(path, headers={"if-match": "*"}))
    assert [answer.status_code for answer in answers] == [204, 204, 403]
    assert answers[-1].json()["code"] == "limit_reached"


async def test_a_member_who_is_removed_while_being_put_into_a_team_is_not_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.owner()
    leaving = await world.member(owner.organization_id, "member")
    url = owner.url(f"/teams/{(await team_of(owner))['id']}/members/{leaving.membership_id}")
    assert (await owner.client.put(url)).status_code == 200
    take_in = TeamService.take_in

    async def and_leave(self: TeamService, team_id: str, member_id: str) -> None:
        await take_in(self, team_id, member_id)
        assert (await leaving.client.post(leaving.url("/departure"))).status_code < 300

    monkeypatch.setattr(TeamService, "take_in", and_leave)
    assert (await owner.client.put(url)).status_code == 404
