"""The audit log over HTTP."""

import asyncio
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from insula.core import ids
from insula.core.ids import new_id, to_uuid
from insula.core.lately import LATELY
from insula.core.listing import first_id_of
from insula.features.audit.schemas import AuditRead
from tests.factories import Member, World
from tests.waits import somebody_waits


async def events(member: Member, **params: str) -> list[dict[str, Any]]:
    answer = await member.client.get(member.url("/events"), params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def busy(world: World) -> tuple[Member, Member]:
    """An organization in which something happened."""
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    for number in range(3):
        body = {"name": f"Project {number}", "key": f"P{number}"}
        assert (await admin.client.post(admin.url("/projects"), json=body)).status_code == 201
    await owner.client.patch(owner.url(""), json={"name": "Renamed"}, headers={"if-match": "*"})
    return owner, admin


async def test_an_event_says_who_did_what_from_where_and_how_it_was_before(world: World) -> None:
    owner, admin = await busy(world)
    first = (await owner.client.get(owner.url(""))).json()
    headers = {
        "if-match": '"2"',
        "user-agent": "curl/8",
        "x-request-id": "request-4711",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    await admin.client.patch(admin.url(""), json={"name": "Later"}, headers=headers)
    (event,) = await events(owner, type="organization.updated", actor_id=admin.person.id)
    assert event["data"] == {"before": {"name": first["name"]}, "after": {"name": "Later"}}
    assert (event["actor_type"], event["actor_id"]) == ("user", admin.person.id)
    assert (event["target_type"], event["target_id"]) == ("organization", owner.organization_id)
    assert event["credential_id"].startswith("crd_")
    assert event["schema_version"] == 1
    assert event["context"] == {
        "ip": "203.0.113.7",
        "user_agent": "curl/8",
        "request_id": "request-4711",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert abs(datetime.fromisoformat(event["occurred_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert (await owner.client.get(owner.url(f"/events/{event['id']}"))).json() == event


async def test_events_come_newest_first_and_are_found_by_what_they_say(world: World) -> None:
    owner, admin = await busy(world)
    assert [row["type"] for row in await events(owner)] == ["organization.updated", *["project.created"] * 3]
    assert [row["data"]["key"] for row in await events(owner, type="project.created")] == ["P2", "P1", "P0"]
    assert [row["data"]["key"] for row in await events(owner, type="project.created", sort="occurred_at")] == [
        "P0",
        "P1",
        "P2",
    ]
    assert {row["target_type"] for row in await events(owner, actor_id=admin.person.id)} == {"project"}
    assert [row["type"] for row in await events(owner, target_id=owner.organization_id, type="organization.updated")]
    assert await events(owner, actor_id=new_id("usr")) == []
    assert await events(owner, type="team.created") == []


async def test_a_request_that_waited_for_its_turn_is_dated_after_those_that_went_first(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    async with superuser.transaction():
        await superuser.execute(
            "SELECT FROM app.organization WHERE id = $1 FOR NO KEY UPDATE", to_uuid("org", owner.organization_id)
        )
        suspension = asyncio.create_task(owner.client.post(owner.url(f"/members/{member.membership_id}/suspension")))
        await somebody_waits(superuser)
        project = await owner.client.post(owner.url("/projects"), json={"name": "First", "key": "FIRST"})
        assert project.status_code == 201
    assert (await suspension).status_code == 200
    rows = await events(owner)
    assert [row["type"] for row in rows] == ["member.suspended", "project.created"]
    suspended, made = (datetime.fromisoformat(row["occurred_at"]) for row in rows)
    assert suspended > made


async def test_events_are_found_by_their_time(world: World, superuser: asyncpg.Connection) -> None:
    owner, _ = await busy(world)
    rows = await events(owner, type="project.created")
    middle = await superuser.fetchrow("SELECT id FROM app.event WHERE id = $1", to_uuid("evt", rows[1]["id"]))
    instant = datetime.fromtimestamp((middle["id"].int >> 80) / 1000, UTC)
    since = await events(owner, type="project.created", since=instant.isoformat())
    until = await events(owner, type="project.created", until=instant.isoformat())
    assert rows[1]["id"] in {row["id"] for row in since}
    assert rows[1]["id"] not in {row["id"] for row in until}
    assert [row["id"] for row in since + until] == [row["id"] for row in rows]
    far = (datetime.now(UTC) + timedelta(days=4000)).isoformat()
    assert await events(owner, since=far) == []
    assert len(await events(owner, until=far, type="project.created")) == 3
    assert await events(owner, until="1965-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "params",
    [
        {"since": "yesterday"},
        {"since": "2026-11-01T00:00:00"},
        {"sort": "type"},
        {"limit": "0"},
        {"cursor": "x"},
        {"organization_id": "x"},
        {"type": "x" * 101},
    ],
)
async def test_what_cannot_be_asked_of_events_is_refused(world: World, params: dict[str, str]) -> None:
    owner = await world.owner()
    assert (await owner.client.get(owner.url("/events"), params=params)).status_code == 400


async def test_pages_of_events_join_without_gap_or_overlap_while_more_arrive(world: World) -> None:
    owner, admin = await busy(world)
    seen: list[str] = []
    params = {"limit": "2"}
    while True:
        page = (await owner.client.get(owner.url("/events"), params=params)).json()
        seen += [row["id"] for row in page["data"]]
        await admin.client.patch(admin.url(""), json={"name": f"N{len(seen)}"}, headers={"if-match": "*"})
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 4
    assert seen == sorted(seen, reverse=True)


async def test_only_staff_reads_events(world: World) -> None:
    owner, _ = await busy(world)
    (first, *_) = await events(owner)
    for role, status in (("admin", 200), ("member", 403), ("billing", 403), ("viewer", 403)):
        member = await world.member(owner.organization_id, role)
        for path in ("/events", f"/events/{first['id']}", "/event-types"):
            assert (await member.client.get(member.url(path))).status_code == status


@pytest.mark.attack(139)
async def test_a_neighbours_events_do_not_exist(world: World) -> None:
    owner, _ = await busy(world)
    stranger, _ = await busy(world)
    (event, *_) = await events(owner)
    page = (await owner.client.get(owner.url("/events"), params={"limit": "1"})).json()
    assert (await stranger.client.get(owner.url("/events"))).status_code == 404
    assert (await stranger.client.get(owner.url(f"/events/{event['id']}"))).status_code == 404
    for unknown in (event["id"], new_id("evt"), "nonsense"):
        assert (await stranger.client.get(stranger.url(f"/events/{unknown}"))).status_code == 404
    for params in ({"target_id": owner.organization_id}, {"actor_id": owner.person.id}):
        assert await events(stranger, **params) == []
    stolen = await stranger.client.get(stranger.url("/events"), params={"limit": "1", "cursor": page["next_cursor"]})
    assert stolen.status_code == 400
    refused = await stranger.client.get(stranger.url("/events"), params={"tenant_id": owner.organization_id})
    assert refused.status_code == 400


@pytest.mark.attack(139)
async def test_whatever_is_read_of_the_log_is_in_the_log(world: World) -> None:
    owner, admin = await busy(world)
    page = (
        await admin.client.get(
            admin.url("/events"), params={"limit": "1", "type": "project.created", "since": "2026-01-01T00:00:00+01:00"}
        )
    ).json()
    await admin.client.get(admin.url(f"/events/{page['data'][0]['id']}"))
    await admin.client.get(admin.url("/event-types"))
    by_id, listed = await events(owner, type="audit.read")
    for look in (by_id, listed):
        assert (look["actor_id"], look["target_id"]) == (admin.person.id, owner.organization_id)
    assert listed["data"]["filters"] == {"type": "project.created", "since": "2025-12-31T23:00:00Z"}
    assert by_id["data"]["filters"] == {"id": page["data"][0]["id"]}


@pytest.mark.attack(139)
async def test_the_same_look_is_told_once_in_a_while_and_a_denial_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, admin = await busy(world)
    viewer = await world.member(owner.organization_id, "viewer")
    for _ in range(3):
        await admin.client.get(admin.url("/events"), params={"type": "project.created"})
        assert (await viewer.client.get(viewer.url("/events"))).status_code == 403
    assert len(await events(owner, type="audit.read")) == 1
    assert len(await events(owner, type="access.denied")) == 1
    later = time.monotonic() + AuditRead.QUIET_SECONDS + 1
    monkeypatch.setattr(LATELY, "_now", lambda: later)
    await admin.client.get(admin.url("/events"), params={"type": "project.created"})
    assert (await viewer.client.get(viewer.url("/events"))).status_code == 403
    looks = await events(owner, type="audit.read")
    assert [look["data"]["filters"] for look in looks if look["actor_id"] == admin.person.id] == [
        {"type": "project.created"}
    ] * 2
    assert len(await events(owner, type="access.denied")) == 2


async def test_a_type_that_no_feature_has_is_refused_and_not_an_empty_page(world: World) -> None:
    owner = await world.owner()
    answer = await owner.client.get(owner.url("/events"), params={"type": "project.creatd"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "query/type")


@pytest.mark.attack(139)
async def test_a_cursor_from_better_days_opens_nothing(world: World) -> None:
    owner, admin = await busy(world)
    page = (await admin.client.get(admin.url("/events"), params={"limit": "1"})).json()
    place, demotion = owner.url(f"/members/{admin.membership_id}"), {"role": "member"}
    assert (await owner.client.patch(place, json=demotion, headers={"if-match": "*"})).status_code == 200
    again = await admin.client.get(admin.url("/events"), params={"limit": "1", "cursor": page["next_cursor"]})
    assert (again.status_code, again.json()["code"]) == (403, "permission_missing")


@pytest.mark.attack(139)
async def test_a_look_that_failed_is_no_look(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    assert (await owner.client.get(owner.url("/events"), params={"sort": "type"})).status_code == 400
    assert (
        await superuser.fetchval(
            "SELECT count(*) FROM app.event WHERE tenant_id = $1", to_uuid("org", owner.organization_id)
        )
        == 0
    )


def made_at(instant: datetime) -> UUID:
    return UUID(int=first_id_of(instant).int | 7 << 76 | 2 << 62 | secrets.randbits(62))


@pytest.mark.attack(140)
@pytest.mark.parametrize("lag", [timedelta(milliseconds=3), timedelta(minutes=10), timedelta(hours=20)])
async def test_events_keep_their_order_when_another_process_has_a_clock_that_lags(
    world: World, monkeypatch: pytest.MonkeyPatch, lag: timedelta
) -> None:
    owner = await world.owner()
    for number in range(6):
        monkeypatch.setattr(ids._Minted, "latest", 0)  # as if each request met a process that was just started
        if number == 3:
            monkeypatch.setattr(ids, "uuid7", lambda: made_at(datetime.now(UTC) - lag))
        if number == 2:
            invited = {"email": "somebody@example.com", "role": "member"}
            assert (await owner.client.post(owner.url("/invitations"), json=invited)).status_code == 201
        body = {"name": f"Project {number}", "key": f"P{number}"}
        assert (await owner.client.post(owner.url("/projects"), json=body)).status_code == 201
    told = [event["data"]["key"] for event in await events(owner, type="project.created")]
    assert told == ["P5", "P4", "P3", "P2", "P1", "P0"]


@pytest.mark.attack(140)
async def test_what_one_request_did_keeps_its_order_behind_what_another_process_did(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.owner()
    project = await owner.client.post(owner.url("/projects"), json={"name": "A project", "key": "AB"})
    monkeypatch.setattr(ids._Minted, "latest", 0)
    monkeypatch.setattr(ids, "uuid7", lambda: made_at(datetime.now(UTC) - timedelta(hours=1)))
    rows = [{"email": f"{name}@example.com", "role": "member"} for name in "abc"]
    made = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": rows})
    assert made.status_code == 201, made.text
    told = [event["target_id"] for event in await events(owner)]
    assert told[:4] == [*(invitation["id"] for invitation in reversed(made.json()["data"])), project.json()["id"]]


@pytest.mark.attack(140)
async def test_an_event_far_in_the_future_does_not_take_the_others_along(world: World) -> None:
    owner = await world.owner()
    later = made_at(datetime.now(UTC) + timedelta(days=20))
    await world.superuser.execute(
        "INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, data, context)"
        " VALUES ($1, $2, 'planted', 1, 'system', 'nothing', '{}', '{}')",
        to_uuid("org", owner.organization_id),
        later,
    )
    made = await owner.client.post(owner.url("/projects"), json={"name": "A project", "key": "KEY"})
    assert made.status_code == 201
    (event,) = await events(owner, type="project.created")
    assert to_uuid("evt", event["id"]).int >> 80 < (later.int >> 80) - 86_400_000 * 19
