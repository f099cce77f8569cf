"""Attacks in the time that a request waits for others: a right that is lost meanwhile is lost."""

import asyncio
from typing import Any

import asyncpg
import pytest

from insula.core.http.once_more import WAITED_SECONDS
from insula.core.ids import to_uuid
from tests.factories import Member, World
from tests.waits import somebody_waits

ANYHOW = {"if-match": "*"}
HOLD_KEY = """
INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)
VALUES ($1, gen_random_uuid(), 'Theirs', 'theirs', 'MINE', 'active', '{}', now(), now(), 1)
"""
LOSSES = {
    "demoted": ("UPDATE app.membership SET role = 'viewer' WHERE id = $1", 403, "permission_missing"),
    "suspended": ("UPDATE app.membership SET status = 'suspended' WHERE id = $1", 403, "membership_suspended"),
    "removed": ("DELETE FROM app.membership WHERE id = $1", 404, "not_found"),
    "signed out": (
        "UPDATE app.credential SET revoked_at = now() WHERE user_id = (SELECT user_id FROM app.membership WHERE id = $1)",
        401,
        "unauthenticated",
    ),
}


@pytest.mark.attack(93)
@pytest.mark.parametrize("what", ["project", "team", "invitation"])
@pytest.mark.parametrize("loss", LOSSES)
async def test_nobody_changes_what_they_lost_the_right_to_while_they_waited(
    world: World, superuser: asyncpg.Connection, what: str, loss: str
) -> None:
    admin, row, request = await something_of(world, what)
    lose, status, code = LOSSES[loss]
    before = await superuser.fetchrow(f"SELECT * FROM app.{what} WHERE id = $1", row)
    async with superuser.transaction():
        await superuser.execute(f"SELECT FROM app.{what} WHERE id = $1 FOR UPDATE", row)
        pending = asyncio.create_task(request)
        await somebody_waits(superuser)
        await superuser.execute(lose, to_uuid("mem", admin.membership_id))
        await asyncio.sleep(WAITED_SECONDS)
    refused = await pending
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert await superuser.fetchrow(f"SELECT * FROM app.{what} WHERE id = $1", row) == before


@pytest.mark.parametrize("what", ["project", "team", "invitation"])
async def test_whoever_waited_and_still_may_goes_on(world: World, superuser: asyncpg.Connection, what: str) -> None:
    _, row, request = await something_of(world, what)
    async with superuser.transaction():
        await superuser.execute(f"SELECT FROM app.{what} WHERE id = $1 FOR UPDATE", row)
        pending = asyncio.create_task(request)
        await somebody_waits(superuser)
        await asyncio.sleep(WAITED_SECONDS)
    assert (await pending).status_code in {200, 204}


@pytest.mark.attack(93)
@pytest.mark.parametrize("what", ["invitation", "project"])
async def test_nobody_makes_anything_by_a_right_that_they_lost_while_they_waited(
    world: World, superuser: asyncpg.Connection, what: str
) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    body = {"email": "guest@example.com", "role": "admin"} if what == "invitation" else {"name": "Mine", "key": "MINE"}
    async with superuser.transaction():
        await superuser.execute(
            "SELECT FROM app.membership WHERE tenant_id = $1 FOR UPDATE", to_uuid("org", owner.organization_id)
        )
        if what == "project":
            await superuser.execute(HOLD_KEY, to_uuid("org", owner.organization_id))
        pending = asyncio.create_task(admin.client.post(admin.url(f"/{what}s"), json=body))
        await somebody_waits(superuser)
        await superuser.execute(LOSSES["demoted"][0], to_uuid("mem", admin.membership_id))
        await superuser.execute("DELETE FROM app.project WHERE key = 'MINE'")
        await asyncio.sleep(WAITED_SECONDS)
    refused = await pending
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_missing"), refused.text
    assert (await owner.client.get(owner.url(f"/{what}s"))).json()["data"] == []


@pytest.mark.parametrize("how", ["departure", "demotion", "deletion", "sessions"])
async def test_what_one_does_to_oneself_is_no_reason_to_refuse_it(
    world: World, superuser: asyncpg.Connection, how: str
) -> None:
    owner = await world.owner()
    second = await world.member(owner.organization_id, "owner")
    url = second.url(f"/members/{second.membership_id}")
    requests: dict[str, Any] = {
        "departure": lambda: second.client.post(second.url("/departure")),
        "demotion": lambda: second.client.patch(url, json={"role": "viewer"}, headers=ANYHOW),
        "deletion": lambda: second.client.delete(second.url(""), headers=ANYHOW),
        "sessions": lambda: second.client.post("/v1/me/sessions/revocation", json={"include_current": True}),
    }
    async with superuser.transaction():
        await superuser.execute("SELECT FROM app.organization FOR UPDATE")
        await superuser.execute("SELECT FROM app.credential FOR UPDATE")
        pending = asyncio.create_task(requests[how]())
        await somebody_waits(superuser)
        await asyncio.sleep(WAITED_SECONDS)
    assert (await pending).status_code in {200, 204}


async def something_of(world: World, what: str) -> tuple[Member, Any, Any]:
    """An admin, a row that the owner made, and the admin's request to change it."""
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    bodies: dict[str, Any] = {
        "project": {"name": "Theirs", "key": "THEIRS"},
        "team": {"name": "Theirs"},
        "invitation": {"email": "guest@example.com", "role": "member"},
    }
    made = await owner.client.post(owner.url(f"/{what}s"), json=bodies[what])
    assert made.status_code == 201, made.text
    path = admin.url(f"/{what}s/{made.json()['id']}")
    if what == "invitation":
        request = admin.client.post(f"{path}/revocation")
    else:
        request = admin.client.patch(path, json={"name": "Mine"}, headers=ANYHOW)
    return admin, to_uuid(made.json()["id"][:3], made.json()["id"]), request


async def test_who_is_removed_while_their_own_row_is_waited_for_is_gone(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    body = {"email": "guest@example.com", "role": "member"}
    async with superuser.transaction():
        await superuser.execute("DELETE FROM app.membership WHERE id = $1", to_uuid("mem", admin.membership_id))
        pending = asyncio.create_task(admin.client.post(admin.url("/invitations"), json=body))
        await somebody_waits(superuser)
    refused = await pending
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found"), refused.text
