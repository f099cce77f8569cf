"""The catalogue of events, and that what is stored is what it says."""

import json
import re
from collections import Counter
from typing import Any

import asyncpg
import pytest

from insula.core.events import Changed, Event, OfAccount
from insula.core.ids import to_uuid
from insula.features.audit.catalogue import catalogue
from insula.features.projects.schemas import ProjectUpdated
from insula.product import FEATURES
from tests.events import Catalogue, misfits
from tests.factories import Member, World
from tests.invitations import DECLINE, accept, invite, token_of


async def test_the_catalogue_names_every_type_of_every_feature_with_its_schema(world: World) -> None:
    owner = await world.owner()
    shown = (await owner.client.get(owner.url("/event-types"))).json()["data"]
    own = (await owner.client.get("/v1/me/event-types")).json()["data"]
    declared = {event.TYPE: (feature.name, event) for feature in FEATURES for event in feature.events}
    of_account = {type_ for type_, (_, event) in declared.items() if issubclass(event, OfAccount)}
    assert [row["type"] for row in own] == sorted(of_account)
    assert [row["type"] for row in shown] == sorted(declared.keys() - of_account)
    assert {"access.denied", "audit.read", "organization.purged", "project.created"} <= declared.keys() - of_account
    assert {"session.started", "password.changed"} <= of_account
    assert not any(declared[type_][1].PERSONAL for type_ in of_account), "their record keeps nothing apart"
    for row in shown + own:
        feature, event = declared[row["type"]]
        assert (row["feature"], row["version"], row["target_type"]) == (feature, event.VERSION, event.TARGET)
        assert row["description"]
        assert set(row["schema"]["properties"]) == of_data(event) == set(row["schema"]["required"])
        named = set(row["personal_schema"]["properties"]) if event.PERSONAL else row["personal_schema"]
        assert named == of_personal(event)


def of_data(event: type[Event]) -> set[str]:
    """What its data has. A change has both sides there, also where what changed is personal."""
    return set(event.__struct_fields__) - {"target_id"} - event.PERSONAL


def of_personal(event: type[Event]) -> set[str] | None:
    if not event.PERSONAL:
        return None
    return {"before", "after"} if issubclass(event, Changed) else set(event.PERSONAL)


def test_a_change_says_which_of_its_fields_may_have_changed_and_what_they_are() -> None:
    told = {
        each.type: each for each in catalogue(FEATURES, account=False).data + catalogue(FEATURES, account=True).data
    }
    changes = {event for feature in FEATURES for event in feature.events if issubclass(event, Changed)}
    assert len(changes) > 4
    for event in changes:
        data, personal = sides(told[event.TYPE].schema), sides(told[event.TYPE].personal_schema)
        assert data.keys() | personal.keys() == set(event.CHANGE.__struct_fields__), event.TYPE
        assert personal.keys() == data.keys() ^ set(event.CHANGE.__struct_fields__) <= event.PERSONAL
        assert all(data.values()), "nothing of it is untyped"
    assert sides(told["member.updated"].schema) == {"role": {"$ref": "#/$defs/Role", "examples": ["member"]}}
    assert sides(told["member.updated"].personal_schema)["name"]["type"] == "string"
    project = sides(told["project.updated"].schema)
    assert project["status"] == {"enum": ["active", "archived", "paused"]}
    assert [kind["type"] for kind in project["team_id"]["anyOf"]] == ["string", "null"]


def test_no_two_schemas_have_the_same_title() -> None:
    told = catalogue(FEATURES, account=False).data + catalogue(FEATURES, account=True).data
    schemas = [schema for each in told for schema in (each.schema, each.personal_schema) if schema is not None]
    described = [each for schema in schemas for each in (schema, *schema.get("$defs", {}).values())]
    distinct = {json.dumps(each, sort_keys=True): each["title"] for each in described}  # some say what a role is
    assert [title for title, count in Counter(distinct.values()).items() if count > 1] == []
    titles = {each.type: (each.schema["title"], (each.personal_schema or {}).get("title")) for each in told}
    assert titles["member.suspended"] == ("MemberSuspendedData", "MemberSuspendedPersonal")
    assert titles["organization.ownership_transferred"] == ("OrganizationOwnershipTransferredData", None)
    assert {"MemberUpdatedFields", "MemberUpdatedPersonalFields"} <= set(distinct.values())


def test_a_schema_names_all_that_an_event_of_its_version_says() -> None:
    told = catalogue(FEATURES, account=False).data + catalogue(FEATURES, account=True).data
    schemas = [schema for each in told for schema in (each.schema, each.personal_schema) if schema is not None]
    objects = [
        part for schema in schemas for part in (schema, *schema.get("$defs", {}).values()) if "properties" in part
    ]
    assert len(objects) > 40
    assert [part["title"] for part in objects if part.get("additionalProperties") is not False] == []


def sides(schema: dict[str, Any] | None) -> dict[str, Any]:
    """The fields of either side of a change, none of which must be there."""
    if schema is None:
        return {}
    (before, after) = (schema["properties"][side] for side in ("before", "after"))
    assert before == after
    described = schema["$defs"][before["$ref"].rpartition("/")[2]]
    assert described["required"] == []
    found: dict[str, Any] = described["properties"]
    return found


def test_what_was_written_before_a_rule_was_made_is_still_an_event_of_its_type() -> None:
    written = json.dumps([[each.schema, each.personal_schema] for each in catalogue(FEATURES, account=False).data])
    assert not re.search(r'"(pattern|m(in|ax)[A-Z]\w+|propertyNames)": [^{]', written)


@pytest.mark.parametrize(
    ("before", "after"), [({"name": "a"}, {}), ({}, {"name": "a"}), ({"version": 1}, {"version": 2})]
)
def test_a_change_cannot_tell_of_a_field_that_its_type_does_not_name(before: Any, after: Any) -> None:
    with pytest.raises(TypeError):
        ProjectUpdated(target_id="prj_1", before=before, after=after)


NAMED = {"name": "Ada", "email": "ada@example.com"}


@pytest.mark.parametrize(
    ("type_", "version", "data", "personal"),
    [
        ("member.renamed", 1, {}, None),
        ("member.updated", 2, {"before": {}, "after": {}}, None),
        ("member.updated", 1, {"before": {}}, None),
        ("member.updated", 1, {"before": {"name": "a"}, "after": {"name": "b"}}, None),
        ("member.updated", 1, {"before": {"role": "king"}, "after": {"role": "owner"}}, None),
        ("member.updated", 1, {"before": {}, "after": {}}, {"before": {"name": 1}, "after": {"name": "b"}}),
        ("member.suspended", 1, {"name": "Ada"}, NAMED),
        ("member.suspended", 1, {}, NAMED | {"phone": "1"}),
    ],
)
def test_an_event_that_is_not_as_its_type_says_is_noticed(type_: str, version: int, data: Any, personal: Any) -> None:
    known = Catalogue()
    assert known.misfit(type_, version, "member", data, personal) is not None
    changed = {"before": {"role": "member"}, "after": {"role": "owner"}}
    assert (
        known.misfit("member.updated", 1, "member", changed, {"before": {"name": "a"}, "after": {"name": "b"}}) is None
    )
    assert known.misfit("member.suspended", 1, "member", {}, NAMED) is None
    assert known.misfit("member.suspended", 1, "member", {}, None) is None, "it may have been erased"


async def test_every_stored_event_has_a_type_of_the_catalogue_and_data_of_its_schema(
    world: World, superuser: asyncpg.Connection
) -> None:
    organization_id = await whole_life(world)
    rows = await superuser.fetch(
        "SELECT DISTINCT type FROM app.event WHERE tenant_id = $1",
        to_uuid("org", organization_id),
    )
    assert await misfits(superuser) == []
    assert {row["type"] for row in rows} == {
        "organization.created",
        "organization.updated",
        "organization.deleted",
        "organization.restored",
        "organization.ownership_transferred",
        "member.added",
        "member.updated",
        "member.suspended",
        "member.reinstated",
        "member.left",
        "member.removed",
        "access.denied",
        "audit.read",
    }


async def whole_life(world: World) -> str:
    """An organization to which everything happened, down to its restoration; its id."""
    client = world.client((await world.person()).token)
    made = (await client.post("/v1/organizations", json={"name": "Whole life"})).json()
    owner_url = f"/v1/organizations/{made['id']}"
    await client.patch(owner_url, json={"name": "Other"}, headers={"if-match": "*"})
    await client.patch(f"{owner_url}/members/me", json={"name": "Another Name"}, headers={"if-match": "*"})
    member = await world.member(made["id"], "member")
    await member.client.delete(owner_url, headers={"if-match": "*"})
    path = f"{owner_url}/members/{member.membership_id}"
    for action in ("suspension", "reinstatement"):
        await client.post(f"{path}/{action}")
    await client.patch(path, json={"role": "owner"}, headers={"if-match": "*"})
    await client.post(f"{owner_url}/ownership-transfer", json={"member_id": member.membership_id})
    await client.get(f"{owner_url}/events")
    await client.post(f"{owner_url}/departure")
    other = await world.member(made["id"], "viewer")
    await member.client.delete(f"{owner_url}/members/{other.membership_id}", headers={"if-match": "*"})
    await member.client.delete(owner_url, headers={"if-match": "*"})
    await member.client.post(f"{owner_url}/restoration")
    return str(made["id"])


async def shown(member: Member, type_: str) -> dict[str, Any]:
    """The one event of a type."""
    answer = await member.client.get(member.url("/events"), params={"type": type_})
    (event,) = answer.json()["data"]
    found: dict[str, Any] = event
    return found


async def test_the_record_says_who_was_removed_and_who_was_invited(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    renamed = await owner.client.patch(
        owner.url(f"/members/{member.membership_id}"), json={"name": "Grace Hopper"}, headers={"if-match": "*"}
    )
    assert renamed.status_code == 200, renamed.text
    removed = await owner.client.delete(
        owner.url(f"/members/{member.membership_id}"), headers={"if-match": renamed.headers["etag"]}
    )
    assert removed.status_code == 204
    await owner.client.post(owner.url("/invitations"), json={"email": "Ada@example.com", "role": "viewer"})
    update, removal = await shown(owner, "member.updated"), await shown(owner, "member.removed")
    assert update["data"] == {"before": {}, "after": {}}
    assert update["personal"] == {"before": {"name": member.person.name}, "after": {"name": "Grace Hopper"}}
    assert removal["data"] == {"user_id": member.person.id, "role": "member"}
    assert removal["personal"] == {"name": "Grace Hopper", "email": member.person.email}
    assert (await shown(owner, "invitation.created"))["personal"] == {"email": "Ada@example.com"}


async def test_the_doors_of_invitations_say_whom_they_were_for(world: World) -> None:
    owner, person = await world.owner(), await world.person()
    accepted, refused, in_own_list = await invite(owner, person.email), await invite(owner), await world.person()
    listed = await invite(owner, in_own_list.email)
    assert (await accept(world, person, await token_of(world, accepted))).status_code == 201
    assert (await world.client().post(DECLINE, json={"token": await token_of(world, refused)})).status_code == 204
    mine = world.client(in_own_list.token)
    assert (await mine.post(f"/v1/me/invitations/{listed['id']}/refusal")).status_code == 204
    assert (await shown(owner, "invitation.accepted"))["personal"] == {"email": person.email}
    added = (await shown(owner, "member.added"))["personal"]
    assert added["email"] == person.email
    assert added["name"]
    declined = (await owner.client.get(owner.url("/events"), params={"type": "invitation.declined"})).json()["data"]
    assert [row["personal"]["email"] for row in declined] == [in_own_list.email, refused["email"]]


@pytest.mark.parametrize(
    "name",
    ["grace@acme.example", "gracehopper_01j865wyhvfh6rwqv0e619795n", "usr_0gracegracegracegracegrace", "usr_grace"],
)
async def test_whom_somebody_looked_for_by_name_is_not_written_down(world: World, name: str) -> None:
    owner = await world.owner()
    sought = {"actor_id": name, "target_id": owner.membership_id}
    assert (await owner.client.get(owner.url("/events"), params=sought)).json()["data"] == []
    look = await shown(owner, "audit.read")
    assert look["data"] == {"filters": {"actor_id": "", "target_id": owner.membership_id}}


async def test_what_names_people_can_be_erased_and_the_rest_of_the_event_stays(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    await member.client.post(member.url("/departure"))
    before = await shown(owner, "member.left")
    assert member.person.email in json.dumps(before)
    await superuser.execute("UPDATE app.event SET personal = NULL WHERE id = $1", to_uuid("evt", before["id"]))
    after = await shown(owner, "member.left")
    assert after == before | {"personal": None}
    assert not {member.person.email, member.person.name} & set(json.dumps(after).split('"'))
