"""Attacks by many at once: whatever the order, somebody leads, and the log tells all that happened and nothing else."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest

from insula.core.ids import to_text, to_uuid
from tests.factories import Member, World
from tests.features.test_platform import dead_letter, operator
from tests.invitations import fresh_address

OWNERS, STAFF, ROUNDS = 4, 3, 3


def verbs(actor: Member, target: Member) -> list[Callable[[], Any]]:
    """What an owner may ask for that takes authority away from somebody, or gives it."""
    client, path = actor.client, actor.url(f"/members/{target.membership_id}")
    any_version = {"if-match": "*"}
    return [
        lambda: client.post(actor.url("/departure")),
        lambda: client.patch(path, json={"role": "admin"}, headers=any_version),
        lambda: client.patch(path, json={"role": "owner"}, headers=any_version),
        lambda: client.delete(path, headers=any_version),
        lambda: client.post(f"{path}/suspension"),
        lambda: client.post(f"{path}/reinstatement"),
        lambda: client.post(actor.url("/ownership-transfer"), json={"member_id": target.membership_id}),
    ]


async def members_by_log(superuser: asyncpg.Connection, crew: list[Member]) -> dict[str, tuple[str, str]]:
    """Role and status of every member, as the events tell them."""
    told = {member.membership_id: (member.role, "active") for member in crew}
    rows = await superuser.fetch(
        "SELECT type, target_id, data::text AS data FROM app.event"
        " WHERE tenant_id = $1 AND target_type = 'member' AND type LIKE 'member.%' ORDER BY occurred_at, id",
        to_uuid("org", crew[0].organization_id),
    )
    for row in rows:
        role, status = told[row["target_id"]]
        match row["type"]:
            case "member.updated":
                data = json.loads(row["data"])
                assert data["before"]["role"] == role, "an event begins where the one before it ended"
                told[row["target_id"]] = (data["after"]["role"], status)
            case "member.suspended" | "member.reinstated":
                told[row["target_id"]] = (role, "suspended" if row["type"] == "member.suspended" else "active")
            case _:
                del told[row["target_id"]]
    return told


@pytest.mark.attack(93)
async def test_whatever_owners_do_to_each_other_at_once_one_leads_and_the_log_agrees(
    world: World, superuser: asyncpg.Connection
) -> None:
    for seed in range(ROUNDS):
        chance = random.Random(seed)
        first = await world.owner()
        crew = [first, *[await world.member(first.organization_id, "owner") for _ in range(OWNERS - 1)]]
        crew += [await world.member(first.organization_id, "admin") for _ in range(STAFF)]
        asked = [chance.choice(verbs(actor, target)) for actor in crew[:OWNERS] for target in chance.choices(crew, k=8)]
        chance.shuffle(asked)
        answers: list[httpx.Response] = await asyncio.gather(*(ask() for ask in asked))
        assert {answer.status_code for answer in answers} <= {200, 201, 204, 403, 404, 409, 422, 503}
        rows = await superuser.fetch(
            "SELECT id, role, status FROM app.membership WHERE tenant_id = $1", to_uuid("org", first.organization_id)
        )
        found = {to_text("mem", row["id"]): (row["role"], row["status"]) for row in rows}
        assert ("owner", "active") in found.values(), seed
        assert await members_by_log(superuser, crew) == found, seed


@pytest.mark.attack(95)
async def test_fifty_requests_with_one_key_have_one_effect_and_one_answer(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner, address = await world.owner(), fresh_address()
    body, key = {"email": address, "role": "viewer"}, {"idempotency-key": "once"}

    async def ask() -> httpx.Response:
        while True:
            answer = await owner.client.post(owner.url("/invitations"), json=body, headers=key)
            if answer.status_code != 409:
                return answer
            assert (answer.json()["code"], answer.headers["retry-after"]) == ("request_in_progress", "1")
            await asyncio.sleep(0.01)

    answers = await asyncio.gather(*(ask() for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    tenant = to_uuid("org", owner.organization_id)
    for table in ("invitation", "outbox", "event"):
        count = await superuser.fetchval(f"SELECT count(*) FROM app.{table} WHERE tenant_id = $1", tenant)
        assert count == 1, table


@pytest.mark.attack(96)
async def test_one_key_with_another_request_is_refused(world: World) -> None:
    owner = await world.owner()
    key = {"idempotency-key": "twice"}
    first = await owner.client.post(owner.url("/teams"), json={"name": "One"}, headers=key)
    assert first.status_code == 201
    for path, body in (("/teams", {"name": "Two"}), ("/invitations", {"email": fresh_address(), "role": "viewer"})):
        refused = await owner.client.post(owner.url(path), json=body, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    listed = (await owner.client.get(owner.url("/teams"))).json()["data"]
    assert [team["name"] for team in listed] == ["One"]


async def test_a_key_on_an_operators_verb_does_no_harm(world: World) -> None:
    client, job = world.client((await operator(world)).token), await dead_letter(world.superuser)
    path = f"/v1/platform/jobs/{job}/disposal"
    answers = [await client.post(path, headers={"idempotency-key": key}) for key in ("once", "once", "twice", "once")]
    assert [answer.status_code for answer in answers] == [204, 204, 409, 204], "answered again, and done once"
