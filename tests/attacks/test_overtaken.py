"""Attacks in the time that a request waits for others: a right that is lost meanwhile is lost."""

import asyncio
from typing import Any

import asyncpg
import pytest

from insula.core.ids import to_uuid
from insula.core.repository import WAITED_SECONDS
from tests.factories import Member, World
from tests.waits import somebody_waits

ANYHOW = {"if-match": "*"}
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
