"""A person's own record as a list: who reads it, and how its lines are found."""

from datetime import UTC, datetime, timedelta

import pytest

from insula.core.ids import to_uuid
from tests.factories import World
from tests.features.own_record import EVENTS_URL, session_of, told


async def test_nobody_reads_another_persons_record(world: World) -> None:
    ada, eve = await world.person(), await world.person()
    for person in (ada, eve):
        client = world.client(person.token)
        for name in "AB":
            await client.patch("/v1/me", json={"name": f"{name} {person.id}"}, headers={"if-match": "*"})
    mine = (await world.client(ada.token).get(EVENTS_URL, params={"limit": "1"})).json()
    theirs = await told(world.client(eve.token))
    assert {event["target_id"] for event in theirs} == {eve.id}
    stolen = await world.client(eve.token).get(EVENTS_URL, params={"limit": "1", "cursor": mine["next_cursor"]})
    assert stolen.status_code == 400
    assert (await world.client().get(EVENTS_URL)).status_code == 401


async def test_lines_are_found_by_type_and_time_and_page_by_page(world: World) -> None:
    person = await world.person()
    client = world.client(person.token)
    for name in "ABC":
        await client.patch("/v1/me", json={"name": name}, headers={"if-match": "*"})
    await client.post(f"/v1/me/sessions/{await session_of(world.client(await world.session(person.id)))}/revocation")
    everything = await told(client)
    assert [event["type"] for event in everything] == ["session.revoked", *["account.updated"] * 3]
    assert await told(client, sort="occurred_at") == everything[::-1]
    assert await told(client, type="session.revoked") == everything[:1]
    assert await told(client, type="password.changed") == []
    pages, params = [], {"limit": "2", "type": "account.updated"}
    while True:
        page = (await client.get(EVENTS_URL, params=params)).json()
        pages.append(page["data"])
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert pages == [everything[1:3], everything[3:]]
    middle = datetime.fromtimestamp((to_uuid("evt", everything[2]["id"]).int >> 80) / 1000, UTC)
    assert await told(client, since=middle.isoformat()) == everything[:3]
    assert await told(client, until=middle.isoformat()) == everything[3:]
    after, before = middle + timedelta(days=1), middle - timedelta(days=1)
    assert await told(client, since=before.isoformat(), until=after.isoformat()) == everything
    assert await told(client, since=after.isoformat()) == []


@pytest.mark.parametrize(
    "params",
    [
        {"type": "account.updatd"},
        {"type": "project.created"},
        {"since": "yesterday"},
        {"sort": "type"},
        {"cursor": "x"},
        {"limit": "101"},
        {"user_id": "x"},
        {"target_id": "x"},
    ],
)
async def test_what_cannot_be_asked_of_a_record_is_refused(world: World, params: dict[str, str]) -> None:
    client = world.client((await world.person()).token)
    assert (await client.get(EVENTS_URL, params=params)).status_code == 400


async def test_organizations_are_not_asked_for_what_happens_to_people(world: World) -> None:
    owner = await world.owner()
    answer = await owner.client.get(owner.url("/events"), params={"type": "session.started"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "query/type")
