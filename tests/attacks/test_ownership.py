"""Attacks on ownership: requests that are right one by one, sent at once."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg
import httpx
import pytest

from insula.core.ids import to_uuid
from tests.factories import Member, World
from tests.features.test_members import act, change, owners_of, remove
from tests.waits import somebody_waits


@pytest.mark.attack(93)
async def test_owners_who_depose_each_other_at_once_leave_an_owner(world: World, superuser: asyncpg.Connection) -> None:
    def leave(actor: Member, _: Member) -> Any:
        return actor.client.post(actor.url("/departure"))

    def demote(actor: Member, target: Member) -> Any:
        return change(actor, target, role="viewer")

    def suspend(actor: Member, target: Member) -> Any:
        return act(actor, target, "suspension")

    def hand_over(actor: Member, target: Member) -> Any:
        return actor.client.post(actor.url("/ownership-transfer"), json={"member_id": target.membership_id})

    verbs = [demote, leave, remove, suspend, hand_over]
    for attempt in range(50):
        first = await world.owner()
        second = await world.member(first.organization_id, "owner")
        one, other = verbs[attempt % 5], verbs[attempt // 5 % 5]
        answers = await asyncio.gather(one(first, second), other(second, first))
        statuses = [answer.status_code for answer in answers]
        assert all(status in {200, 201, 204, 403, 404, 409, 422} for status in statuses), statuses
        assert await owners_of(superuser, first.organization_id) >= 1, (one, other, statuses)


async def test_whoever_was_demoted_meanwhile_acts_no_more(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    admin, victim = [await world.member(owner.organization_id, role) for role in ("admin", "member")]
    refused = await answer_after(superuser, admin, remove(admin, victim), "role = 'viewer'")
    assert (refused.status_code, refused.json()["code"]) == (403, "role_above_yours")
    assert (await victim.client.get(victim.url(""))).status_code == 200


async def test_an_owner_who_was_deposed_meanwhile_gives_nothing_away(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    heir = await world.member(owner.organization_id, "member")
    await world.member(owner.organization_id, "owner")
    transfer = owner.client.post(owner.url("/ownership-transfer"), json={"member_id": heir.membership_id})
    refused = await answer_after(superuser, owner, transfer, "role = 'admin'")
    assert (refused.status_code, refused.json()["code"]) == (403, "role_above_yours")
    assert await owners_of(superuser, owner.organization_id) == 1


@pytest.mark.attack(93)
@pytest.mark.parametrize("verb", ["update", "delete", "restore"])
@pytest.mark.parametrize(
    ("lost", "code"), [("role = 'viewer'", "permission_missing"), ("status = 'suspended'", "membership_suspended")]
)
async def test_an_organization_is_closed_to_whoever_lost_the_right_while_waiting(
    world: World, superuser: asyncpg.Connection, verb: str, lost: str, code: str
) -> None:
    founder = await world.owner()
    second = await world.member(founder.organization_id, "owner")
    anyhow = {"if-match": "*"}
    if verb == "restore":
        assert (await founder.client.delete(founder.url(""), headers=anyhow)).status_code == 204
    verbs: dict[str, Any] = {
        "update": lambda: second.client.patch(second.url(""), json={"name": "Mine"}, headers=anyhow),
        "delete": lambda: second.client.delete(second.url(""), headers=anyhow),
        "restore": lambda: second.client.post(second.url("/restoration")),
    }
    organization = to_uuid("org", founder.organization_id)
    before = await superuser.fetchrow("SELECT name, deleted_at FROM app.organization WHERE id = $1", organization)
    refused = await answer_after(superuser, second, verbs[verb](), lost)
    assert (refused.status_code, refused.json()["code"]) == (403, code), refused.text
    after = await superuser.fetchrow("SELECT name, deleted_at FROM app.organization WHERE id = $1", organization)
    assert after == before


async def answer_after(
    superuser: asyncpg.Connection, caller: Member, request: Coroutine[Any, Any, httpx.Response], lost: str
) -> httpx.Response:
    """The answer to a request that waited for the organization while its caller's membership was changed."""
    async with superuser.transaction():
        await superuser.execute(
            "SELECT FROM app.organization WHERE id = $1 FOR UPDATE", to_uuid("org", caller.organization_id)
        )
        pending = asyncio.create_task(request)
        await somebody_waits(superuser)
        await superuser.execute(f"UPDATE app.membership SET {lost} WHERE id = $1", to_uuid("mem", caller.membership_id))
    return await pending
