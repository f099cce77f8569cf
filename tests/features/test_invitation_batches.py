"""Inviting up to a hundred people at once: all of them or nobody."""

import pytest

from tests.factories import World
from tests.invitations import creation_of, events_of, expire, fresh_address, invite, letters_for, token_of


async def test_a_batch_invites_everybody_in_its_order(world: World) -> None:
    owner = await world.owner()
    rows = [{"email": fresh_address(f"p{number:03}"), "role": "viewer"} for number in range(100)]
    made = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": rows})
    assert made.status_code == 201, made.text
    assert [row["email"] for row in made.json()["data"]] == [row["email"] for row in rows]
    assert all(row["acceptable"] for row in made.json()["data"])
    for row in made.json()["data"][::33]:
        assert len(await letters_for(world, row)) == 1
        assert await events_of(world, row["id"]) == [creation_of(row)]
        preview = await world.client().post("/v1/auth/invitations/preview", json={"token": await token_of(world, row)})
        assert preview.json()["email"] == row["email"]


async def test_a_batch_names_every_row_that_cannot_be_invited_and_invites_nobody(world: World) -> None:
    owner = await world.owner()
    invited = await invite(owner)
    member = await world.member(owner.organization_id, "viewer")
    twice = fresh_address("twice")
    emails = [fresh_address(), invited["email"].upper(), twice, member.person.email, twice.upper()]
    refused = await owner.client.post(
        owner.url("/invitations/batch"),
        json={"invitations": [{"email": email, "role": "member"} for email in emails]},
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "invitations_refused")
    assert [error["pointer"] for error in refused.json()["errors"]] == [
        "/invitations/1/email",
        "/invitations/3/email",
        "/invitations/4/email",
    ]
    assert refused.json()["errors"][2]["detail"] == "the same as in row 2"

    malformed = await owner.client.post(
        owner.url("/invitations/batch"),
        json={
            "invitations": [{"email": email, "role": "member"} for email in ("a@", fresh_address(), "b c@d.example")]
        },
    )
    assert (malformed.status_code, malformed.json()["code"]) == (400, "invalid_request")
    assert [error["pointer"] for error in malformed.json()["errors"]] == [
        "/invitations/0/email",
        "/invitations/2/email",
    ]
    listed = await owner.client.get(owner.url("/invitations"))
    assert [row["id"] for row in listed.json()["data"]] == [invited["id"]]


async def test_a_batch_names_bad_addresses_and_bad_roles_together(world: World) -> None:
    owner = await world.owner()
    rows = [{"email": "zz", "role": "adm"}, {"email": "yy", "role": "viewer"}, {"role": 5}]
    answer = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": rows})
    assert answer.status_code == 400
    assert [error["pointer"].removeprefix("/invitations") for error in answer.json()["errors"]] == [
        "/0/email",
        "/0/role",
        "/1/email",
        "/2/email",
        "/2/role",
    ]


async def test_a_batch_takes_the_place_of_expired_invitations(world: World) -> None:
    owner = await world.owner()
    old = [await invite(owner) for _ in range(3)]
    for invitation in old:
        await expire(world, invitation)
    made = await owner.client.post(
        owner.url("/invitations/batch"),
        json={"invitations": [{"email": row["email"], "role": "viewer"} for row in old]},
    )
    assert made.status_code == 201, made.text
    for invitation in old:
        assert [kind for kind, _ in await events_of(world, invitation["id"])][-1] == "invitation.expired"


@pytest.mark.parametrize("rows", [0, 101])
async def test_a_batch_has_one_to_a_hundred_rows(world: World, rows: int) -> None:
    owner = await world.owner()
    batch = [{"email": fresh_address(), "role": "viewer"} for _ in range(rows)]
    answer = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": batch})
    assert answer.status_code == 400
