"""No effect without its event: both are one commit."""

import pytest

from insula.core.ids import to_uuid
from tests.factories import World


@pytest.mark.attack(134)
async def test_what_cannot_be_recorded_does_not_happen(world: World) -> None:
    owner = await world.owner()
    made = (await owner.client.post(owner.url("/projects"), json={"name": "Before", "key": "BEFORE"})).json()
    tenant = to_uuid("org", owner.organization_id)
    await world.superuser.execute(
        "CREATE FUNCTION public.no_more_events() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$"
    )
    await world.superuser.execute(
        "CREATE TRIGGER no_more_events BEFORE INSERT ON app.event FOR EACH ROW"
        f" WHEN (NEW.tenant_id = '{tenant}') EXECUTE FUNCTION public.no_more_events()"
    )
    try:
        refused = await owner.client.post(owner.url("/projects"), json={"name": "After", "key": "AFTER"})
        assert refused.status_code == 503
        url = owner.url(f"/projects/{made['id']}")
        assert (await owner.client.patch(url, json={"name": "X"}, headers={"if-match": "*"})).status_code == 503
        assert (await owner.client.delete(url, headers={"if-match": "*"})).status_code == 503
    finally:
        await world.superuser.execute("DROP TRIGGER no_more_events ON app.event")
        await world.superuser.execute("DROP FUNCTION public.no_more_events")
    page = (await owner.client.get(owner.url("/projects"))).json()["data"]
    assert [(project["name"], project["version"]) for project in page] == [("Before", 1)]


@pytest.mark.attack(138)
async def test_a_suspended_members_attempts_are_recorded_and_change_nothing(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "admin")
    suspended = await owner.client.post(owner.url(f"/members/{member.membership_id}/suspension"))
    assert suspended.status_code == 200
    again = world.client(await world.session(member.person.id))
    for client in (member.client, again, member.client):  # in a minute and from another session it is nothing new
        refused = await client.post(member.url("/projects"), json={"name": "Mine", "key": "MINE"})
        assert (refused.status_code, refused.json()["code"]) == (403, "membership_suspended")
        assert (await client.get(member.url("/members"))).status_code == 403
    stranger = await world.owner()
    assert (await stranger.client.get(owner.url("/projects"))).status_code == 404
    # What is long is refused before it is read, and its sender is told of like any other.
    assert (await again.post(member.url("/teams"), json={"name": "x" * 20_000})).status_code == 403
    events = (await owner.client.get(owner.url("/events"), params={"type": "access.denied"})).json()["data"]
    assert sorted(event["data"]["operation"] for event in events) == ["create_project", "create_team", "list_members"]
    for event in events:
        assert (event["actor_id"], event["target_id"]) == (member.person.id, member.membership_id)
        assert event["data"]["reason"] == "member_suspended"
        assert event["data"]["permission"] in {"projects:write", "teams:write", "members:read"}
        assert event["context"]["ip"] == "203.0.113.7"
    assert (await owner.client.get(owner.url("/projects"))).json()["data"] == []
