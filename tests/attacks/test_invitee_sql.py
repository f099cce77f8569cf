"""What SQL in an invitee's own transaction can write into the record of the organization that invited them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from litestar import Litestar

from insula.core.db import Database, Driver
from insula.core.ids import new_id, to_uuid
from insula.core.permissions import Facts
from tests.factories import Member, Person, World
from tests.invitations import DECLINE as REFUSAL
from tests.invitations import invite, token_of

FORGED = json.dumps({"ip": "203.0.113.66", "user_agent": "x" * 100_000, "said": "by nobody"})
DECLINE = "SELECT app.decline_my_invitation($1, $2, $3::text::jsonb)"
ACCEPT = "SELECT verdict FROM app.accept_invitation(NULL, $1, 'ada', $2, $3, $4, $5::text::jsonb)"


@asynccontextmanager
async def own_plane(litestar: Litestar, world: World, person: Person) -> AsyncIterator[Driver]:
    """A transaction of theirs, in no organization; it is committed."""
    database: Database = litestar.state.databases.rw
    async with database.transaction() as transaction:
        await transaction.driver.fetchrow("SELECT * FROM app.enter($1, NULL)", world.digest(person.token))
        yield transaction.driver
        await transaction.commit()


async def newest(owner: Member, type_: str) -> dict[str, Any]:
    found: dict[str, Any] = (await owner.client.get(owner.url("/events"), params={"type": type_})).json()["data"][0]
    return found


async def machine_ahead(world: World, owner: Member) -> str:
    """The id of an event that another machine wrote, whose clock is half an hour ahead."""
    ahead = int((datetime.now(UTC) + timedelta(minutes=30)).timestamp() * 1000)
    key = UUID(int=ahead << 80 | 7 << 76 | 8 << 60 | uuid4().int >> 70)
    await world.superuser.execute(
        "INSERT INTO app.event (tenant_id, id, type, version, actor_type, target_type, data, context)"
        " VALUES ($1, $2, 'audit.read', 1, 'system', 'x', '{}', '{}')",
        to_uuid("org", owner.organization_id),
        key,
    )
    return (await newest(owner, "audit.read"))["id"]


@pytest.mark.attack(15)
async def test_who_declines_by_sql_forges_neither_time_nor_credential_nor_facts(
    world: World, litestar: Litestar
) -> None:
    owner, person = await world.owner(), await world.person()
    invitation = await invite(owner, person.email)
    stranger = await world.superuser.fetchval("SELECT id FROM app.credential WHERE user_id IS NOT NULL LIMIT 1")
    async with own_plane(litestar, world, person) as driver:
        wanted = to_uuid("inv", invitation["id"])
        assert await driver.fetchval(DECLINE, wanted, stranger, FORGED) == "done"
    event = await newest(owner, "invitation.declined")
    assert (event["actor_id"], event["credential_id"], event["context"]) == (None, None, {})
    (own,) = (
        await world.client(person.token).get("/v1/me/events", params={"type": "account.invitation_declined"})
    ).json()["data"]
    assert (own["target_id"], own["credential_id"]) == (invitation["id"], None)
    assert own["context"] == {"ip": "203.0.113.66", "user_agent": "x" * 400}
    assert abs(datetime.fromisoformat(event["occurred_at"]) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.attack(15)
async def test_who_accepts_by_sql_forges_neither_credential_nor_facts(world: World, litestar: Litestar) -> None:
    owner, person = await world.owner(), await world.person()
    invitation = await invite(owner, person.email)
    binds = (to_uuid("inv", invitation["id"]), 2_000_000_000, to_uuid("mem", new_id("mem")), uuid4(), FORGED)
    async with own_plane(litestar, world, person) as driver:
        assert await driver.fetchval(ACCEPT, *binds) == "admitted"
    (own,) = (
        await world.client(person.token).get("/v1/me/events", params={"type": "account.invitation_accepted"})
    ).json()["data"]
    assert (own["target_id"], own["credential_id"]) == (invitation["id"], None)
    assert own["context"] == {"ip": "203.0.113.66", "user_agent": "x" * 400}
    for type_ in ("invitation.accepted", "member.added"):
        event = await newest(owner, type_)
        assert (event["actor_id"], event["credential_id"]) == (person.id, None)
        assert event["context"] == {"ip": "203.0.113.66", "user_agent": "x" * 400}


async def test_who_declines_shows_a_foreign_organization_neither_account_nor_browser_nor_correlation(
    world: World,
) -> None:
    owner, person = await world.owner(), await world.person()
    listed, mailed = await invite(owner, person.email), await invite(owner)
    client = world.client(person.token)
    own_ids = {"x-request-id": "adas-own-4711", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    done = await client.post(f"/v1/me/invitations/{listed['id']}/refusal", headers=own_ids)
    assert done.status_code == 204, done.text
    body = {"token": await token_of(world, mailed)}
    assert (await world.client().post(REFUSAL, json=body, headers=own_ids)).status_code == 204
    told = (await owner.client.get(owner.url("/events"), params={"type": "invitation.declined"})).json()["data"]
    assert [event["target_id"] for event in told] == [mailed["id"], listed["id"]]
    for event in told:
        assert (event["actor_id"], event["credential_id"]) == (None, None)
        assert event["context"] == {}
    (own,) = (await client.get("/v1/me/events", params={"type": "account.invitation_declined"})).json()["data"]
    assert own["target_id"] == listed["id"]
    assert own["credential_id"].startswith("crd_")
    assert own["context"].items() >= {"ip": "203.0.113.7", "request_id": "adas-own-4711", "trace_id": "a" * 32}.items()


async def test_a_refusal_follows_what_a_machine_ahead_has_written(world: World) -> None:
    owner, person = await world.owner(), await world.person()
    invitation = await invite(owner, person.email)
    ahead = await machine_ahead(world, owner)
    declined = await world.client(person.token).post(f"/v1/me/invitations/{invitation['id']}/refusal")
    assert declined.status_code == 204
    assert (await newest(owner, "invitation.declined"))["id"] > ahead


async def test_the_doors_know_every_fact_of_a_request(world: World) -> None:
    facts = dict.fromkeys(Facts.__struct_fields__, "x")
    known = await world.superuser.fetchval(
        "SELECT app.known_facts($1::text::jsonb)", msgspec.json.encode(facts).decode()
    )
    assert json.loads(known) == facts
