"""How invitations end without their letter: declined in one's own list, purged when they are long over."""

from typing import Any

import pytest

from insula.core.db import Database
from insula.core.ids import to_uuid
from insula.features.invitations.jobs import PURGE
from tests.factories import World
from tests.invitations import events_of, expire, fresh_address, invite, token_of


def refusal(invitation: dict[str, Any]) -> str:
    return f"/v1/me/invitations/{invitation['id']}/refusal"


async def test_who_is_invited_declines_in_their_own_list(world: World) -> None:
    owner, person = await world.owner(), await world.person()
    client = world.client(person.token)
    invitation, kept = await invite(owner, person.email.upper()), await invite(await world.owner(), person.email)
    token = await token_of(world, invitation)
    assert (await client.post(refusal(invitation))).status_code == 204
    mine = (await client.get("/v1/me/invitations")).json()["data"]
    assert [each["id"] for each in mine] == [kept["id"]]
    seen = (await owner.client.get(owner.url(f"/invitations/{invitation['id']}"))).json()
    assert (seen["status"], seen["acceptable"]) == ("declined", False)
    assert [name for name, _ in await events_of(world, invitation["id"])][-1] == "invitation.declined"
    event = (await owner.client.get(owner.url("/events"), params={"type": "invitation.declined"})).json()["data"][0]
    assert (event["actor_id"], event["target_id"]) == (None, invitation["id"])
    used = await client.post("/v1/me/invitations/acceptance", json={"token": token})
    assert (used.status_code, used.json()["code"]) == (409, "invitation_closed")
    again = await client.post(refusal(invitation))
    assert (again.status_code, again.json()["code"]) == (409, "invitation_closed")


async def test_nobody_declines_what_is_for_somebody_else(world: World) -> None:
    owner, person = await world.owner(), await world.person()
    theirs = await invite(owner)
    unverified = await world.person()
    mine = await invite(owner, unverified.email)
    await world.superuser.execute(
        'UPDATE app."user" SET email_verified_at = NULL WHERE id = $1', to_uuid("usr", unverified.id)
    )
    for token, invitation in ((person.token, theirs), (unverified.token, mine), (owner.person.token, theirs)):
        assert (await world.client(token).post(refusal(invitation))).status_code == 404
        assert (await owner.client.get(owner.url(f"/invitations/{invitation['id']}"))).json()["status"] == "pending"
    assert (await world.client().post(refusal(theirs))).status_code == 401


async def test_what_is_over_cannot_be_declined_any_more(world: World) -> None:
    owner, person = await world.owner(), await world.person()
    invitation = await invite(owner, person.email)
    await expire(world, invitation)
    late = await world.client(person.token).post(refusal(invitation))
    assert (late.status_code, late.json()["code"]) == (409, "invitation_expired")


@pytest.mark.parametrize(
    ("status", "updated", "expires", "stays"),
    [
        ("pending", -200, 5, True),
        ("pending", -200, -89, True),
        ("pending", -200, -91, False),
        ("accepted", -91, 100, False),
        ("declined", -91, 100, False),
        ("revoked", -89, -300, True),
        ("expired", -91, -300, False),
    ],
)
async def test_an_invitation_goes_ninety_days_after_its_end(
    world: World, status: str, updated: int, expires: int, stays: bool
) -> None:
    owner = await world.owner()
    invitation = await invite(owner, fresh_address())
    await world.superuser.execute(
        "UPDATE app.invitation SET status = $2, updated_at = now() + $3 * interval '1 day',"
        " expires_at = now() + $4 * interval '1 day' WHERE id = $1",
        to_uuid("inv", invitation["id"]), status, updated, expires,
    )  # fmt: skip
    platform = Database(world.settings.platform_database_url, pool_size=1)
    await platform.open()
    try:
        async with platform.transaction(read_only=True) as db:
            await db.driver.execute(PURGE.statement)
            await db.commit()
    finally:
        await platform.close()
    found = await owner.client.get(owner.url(f"/invitations/{invitation['id']}"))
    assert found.status_code == (200 if stays else 404)
    told = (await owner.client.get(owner.url("/events"), params={"type": "organization.data_purged"})).json()["data"]
    assert [each["data"] for each in told] == ([] if stays else [{"kind": "invitation", "count": 1}])
