"""Attacks on invitations by doing several things at the same moment."""

import asyncio

import asyncpg
import pytest

from insula.core.ids import to_uuid
from tests.attacks.test_invitation_tokens import removed
from tests.factories import World
from tests.invitations import ACCEPT, accept, events_of, invite, join, members_of, token_of


@pytest.mark.attack(87)
async def test_acceptance_and_revocation_at_once_agree_on_one_of_them(world: World) -> None:
    owner = await world.owner()
    for _ in range(15):
        person = await world.person()
        invitation = await invite(owner, person.email)
        token = await token_of(world, invitation)
        accepted, revoked = await asyncio.gather(
            accept(world, person, token),
            owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation")),
        )
        assert (accepted.status_code, revoked.status_code) in {(201, 409), (409, 200)}
        is_member = (person.email, "member") in await members_of(world, owner.organization_id)
        assert is_member == (accepted.status_code == 201)
        status = (await owner.client.get(owner.url(f"/invitations/{invitation['id']}"))).json()["status"]
        assert status == ("accepted" if is_member else "revoked")


@pytest.mark.attack(87)
async def test_acceptance_and_the_inviters_removal_at_once_do_not_fail(world: World) -> None:
    owner = await world.owner()
    for _ in range(15):
        person, inviter = await world.person(), await world.member(owner.organization_id, "admin")
        token = await token_of(world, await invite(inviter, person.email))
        accepted, gone = await asyncio.gather(accept(world, person, token), removed(owner, inviter))
        assert gone.status_code == 204, gone.text
        assert accepted.status_code in {201, 409}, accepted.text
        is_member = (person.email, "member") in await members_of(world, owner.organization_id)
        assert is_member == (accepted.status_code == 201)


@pytest.mark.attack(87)
async def test_a_token_replaced_while_it_waits_for_its_turn_is_worth_nothing(
    world: World, addresses: dict[str, str], database: str
) -> None:
    owner, person = await world.owner(), await world.person()
    invitation = await invite(owner, person.email)
    token = await token_of(world, invitation)
    other = await asyncpg.connect(addresses["admin"], database=database)
    try:
        async with other.transaction():
            await other.execute(
                "SELECT FROM app.organization WHERE id = $1 FOR UPDATE", to_uuid("org", owner.organization_id)
            )
            waiting = asyncio.create_task(accept(world, person, token))
            while not await world.superuser.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock')", database
            ):
                await asyncio.sleep(0.01)
            await other.execute(
                "UPDATE app.credential SET hash = sha256(hash) WHERE subject_id = $1", to_uuid("inv", invitation["id"])
            )
    finally:
        await other.close()
    assert (await waiting).json()["code"] == "link_invalid"
    assert len(await members_of(world, owner.organization_id)) == 1


@pytest.mark.attack(88)
@pytest.mark.parametrize("way", ["by token", "by id"])
async def test_fifty_acceptances_at_once_make_one_member(world: World, way: str) -> None:
    owner, person = await world.owner(), await world.person()
    invitation = await invite(owner, person.email)
    token = await token_of(world, invitation)
    url = ACCEPT if way == "by token" else f"/v1/me/invitations/{invitation['id']}/acceptance"
    body = {"token": token} if way == "by token" else None
    clients = [world.client(await world.session(person.id)) for _ in range(50)]
    answers = await asyncio.gather(*(client.post(url, json=body) for client in clients))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert {answer.json().get("code") for answer in answers} == {None, "invitation_accepted"}
    assert await members_of(world, owner.organization_id) == [(owner.person.email, "owner"), (person.email, "member")]
    kinds = [kind for kind, _ in await events_of(world, invitation["id"])]
    assert kinds == ["invitation.created", "invitation.accepted"]


@pytest.mark.attack(88)
async def test_sign_ups_by_one_invitation_at_once_make_one_account(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    answers = await asyncio.gather(*(join(world, token) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    assert len(await members_of(world, owner.organization_id)) == 2
    accounts = await world.superuser.fetchval(
        'SELECT count(*) FROM app."user" WHERE email_norm = $1', invitation["email"].casefold()
    )
    assert accounts == 1


@pytest.mark.attack(88)
async def test_the_last_place_is_taken_once(world: World) -> None:
    owner = await world.owner()
    people = [await world.person() for _ in range(10)]
    letters = [await token_of(world, await invite(owner, person.email)) for person in people]
    await world.allow(owner.organization_id, members=2)
    answers = await asyncio.gather(*(accept(world, *pair) for pair in zip(people, letters, strict=True)))
    assert sorted(answer.status_code for answer in answers) == [201] + [403] * 9
    assert len(await members_of(world, owner.organization_id)) == 2
