"""Attacks on the tokens of invitations: altered, somebody else's, used twice, outlived by their reason."""

from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.core import tokens
from insula.core.ids import new_id, to_uuid
from insula.features.invitations.letters import addressee
from tests.factories import Member, Person, World
from tests.invitations import (
    ACCEPT,
    DECLINE,
    JOIN,
    PASSWORD,
    PREVIEW,
    accept,
    expire,
    fresh_address,
    invite,
    join,
    members_of,
    token_of,
)


async def refused_everywhere(world: World, invitation: dict[str, Any], person: Person) -> set[str]:
    """The codes with which every way in refuses."""
    token = await token_of(world, invitation)
    answers = [
        await world.client().post(PREVIEW, json={"token": token}),
        await join(world, token),
        await accept(world, person, token),
        await world.client(person.token).post(f"/v1/me/invitations/{invitation['id']}/acceptance"),
    ]
    assert {answer.status_code for answer in answers} == {409}
    assert (await world.client(person.token).get("/v1/me/invitations")).json()["data"] == []
    return {answer.json()["code"] for answer in answers}


TOKEN = tokens.derive("invitation", new_id("crd"), b"k" * 32, 1, "a@b.example")


@pytest.mark.attack(85)
@given(position=st.integers(0, len(TOKEN) - 1), character=st.characters(max_codepoint=0x3FF))
def test_a_token_with_another_character_is_refused_before_the_database(position: int, character: str) -> None:
    altered = TOKEN[:position] + character + TOKEN[position + 1 :]
    assert tokens.well_formed(altered, "invitation") == (altered == TOKEN)


@pytest.mark.attack(85)
async def test_a_token_names_nothing_that_could_be_altered(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    invitation = await invite(owner, person.email, role="viewer")
    token = await token_of(world, invitation)
    client = world.client(person.token)
    for field in ("email", "role", "organization_id", "invitation_id", "tenant_id"):
        for path in (PREVIEW, DECLINE, ACCEPT):
            assert (await client.post(path, json={"token": token, field: "owner"})).status_code == 400
        body = {"token": token, "name": "Mallory", "password": PASSWORD, field: "owner"}
        assert (await client.post(JOIN, json=body)).status_code == 400
    for part in (invitation["id"], owner.organization_id, invitation["email"], "viewer"):
        assert part not in token

    stored = world.digest(token).hex()
    credential = f"crd_{token[8:34]}"
    to = addressee(owner.organization_id, invitation["id"], invitation["email"])
    for forged in (
        "",
        "x",
        token[:-1],
        token + "a",
        token.upper(),
        f" {token}",
        stored,
        person.token,
        tokens.mint("invitation", credential),
        tokens.derive("invitation", credential, b"another key, of 32 bytes........", 1, invitation["email"]),
        world.keyring.mailed("invitation", credential, to=to, sending=2),
        world.keyring.mailed("invitation", credential, to=invitation["email"]),
        world.keyring.mailed("invitation", credential, to=f"{to}.example"),
        world.keyring.mailed("reset", credential, to=to),
        world.keyring.mailed("verification", credential, to=to).replace("ins_ver_", "ins_inv_"),
    ):
        for path in (PREVIEW, DECLINE, ACCEPT):
            refused = await client.post(path, json={"token": forged})
            assert (refused.status_code, refused.json()["code"]) == (400, "link_invalid"), forged
        assert (await join(world, forged)).json()["code"] == "link_invalid"
    assert (await accept(world, person, token)).json()["role"] == "viewer"


@pytest.mark.attack(85)
async def test_an_invitations_token_is_no_session_and_no_other_link(world: World) -> None:
    owner = await world.owner()
    token = await token_of(world, await invite(owner))
    assert (await world.client(token).get("/v1/me")).status_code == 401
    for path in ("/v1/auth/reset", "/v1/auth/verification"):
        refused = await world.client().post(path, json={"token": token, "password": PASSWORD})
        assert (refused.status_code, refused.json()["code"]) == (400, "link_invalid")


@pytest.mark.attack(86)
async def test_an_account_with_another_address_does_not_come_in(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner, "ada@example.com")
    token = await token_of(world, invitation)
    for email in (fresh_address(), "ada@example.com.evil.example", "ada+x@example.com"):
        mallory = await world.person(email=email)
        refused = await accept(world, mallory, token)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_account")
        assert (await world.client(mallory.token).get("/v1/me/invitations")).json()["data"] == []
    with pytest.raises(asyncpg.CheckViolationError):
        await world.person(email="\N{CYRILLIC SMALL LETTER A}da@example.com")
    assert len(await members_of(world, owner.organization_id)) == 1


@pytest.mark.attack(87)
async def test_an_invitation_is_used_once(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    first = await join(world, token)
    assert first.status_code == 201
    person = Person(first.json()["session"]["user"]["id"], invitation["email"], "", first.json()["session"]["token"])
    assert await refused_everywhere(world, invitation, person) == {"invitation_accepted"}
    declined = await world.client().post(DECLINE, json={"token": token})
    assert (declined.status_code, declined.json()["code"]) == (409, "invitation_accepted")

    removed = await owner.client.delete(
        owner.url(f"/members/{first.json()['membership']['member_id']}"), headers={"if-match": "*"}
    )
    assert removed.status_code == 204, removed.text
    assert await refused_everywhere(world, invitation, person) == {"invitation_accepted"}
    assert len(await members_of(world, owner.organization_id)) == 1


@pytest.mark.attack(87)
async def test_a_revoked_an_expired_and_a_replaced_invitation_are_refused(world: World) -> None:
    owner = await world.owner()
    person = await world.person()
    revoked = await invite(owner, person.email)
    await owner.client.post(owner.url(f"/invitations/{revoked['id']}/revocation"))
    assert await refused_everywhere(world, revoked, person) == {"invitation_closed"}
    expired = await invite(owner, person.email)
    await expire(world, expired)
    assert await refused_everywhere(world, expired, person) == {"invitation_expired"}
    resent = await invite(owner, person.email)
    assert (await owner.client.post(owner.url(f"/invitations/{resent['id']}/resending"))).status_code == 200
    assert (await accept(world, person, await token_of(world, resent, sending=1))).json()["code"] == "link_invalid"
    assert len(await members_of(world, owner.organization_id)) == 1
    assert (await accept(world, person, await token_of(world, resent))).status_code == 201


async def removed(owner: Member, inviter: Member) -> httpx.Response:
    return await owner.client.delete(owner.url(f"/members/{inviter.membership_id}"), headers={"if-match": "*"})


async def demoted(owner: Member, inviter: Member) -> httpx.Response:
    url = owner.url(f"/members/{inviter.membership_id}")
    return await owner.client.patch(url, json={"role": "member"}, headers={"if-match": "*"})


async def suspended(owner: Member, inviter: Member) -> httpx.Response:
    return await owner.client.post(owner.url(f"/members/{inviter.membership_id}/suspension"))


@pytest.mark.attack(87)
@pytest.mark.parametrize("falls", [removed, demoted, suspended])
async def test_nobody_comes_in_on_the_word_of_somebody_who_lost_their_right(world: World, falls: Any) -> None:
    owner, person = await world.owner(), await world.person()
    inviter = await world.member(owner.organization_id, "admin")
    invitation = await invite(inviter, person.email, role="viewer")
    assert (await falls(owner, inviter)).status_code in {200, 204}
    assert await refused_everywhere(world, invitation, person) == {"invitation_closed"}
    assert (person.email, "viewer") not in await members_of(world, owner.organization_id)


@pytest.mark.attack(87)
async def test_an_owner_made_admin_no_longer_answers_for_owners(world: World) -> None:
    owner, person, other = await world.owner(), await world.person(), await world.person()
    inviter = await world.member(owner.organization_id, "owner")
    above, equal = await invite(inviter, person.email, role="owner"), await invite(inviter, other.email, role="admin")
    url = owner.url(f"/members/{inviter.membership_id}")
    await owner.client.patch(url, json={"role": "admin"}, headers={"if-match": "*"})
    assert await refused_everywhere(world, above, person) == {"invitation_closed"}
    assert (await accept(world, other, await token_of(world, equal))).status_code == 201


@pytest.mark.attack(87)
async def test_a_disabled_account_lets_nobody_in(world: World) -> None:
    owner, person = await world.owner(), await world.person()
    invitation = await invite(owner, person.email)
    await world.superuser.execute(
        'UPDATE app."user" SET disabled_at = now() WHERE id = $1', to_uuid("usr", owner.person.id)
    )
    assert await refused_everywhere(world, invitation, person) == {"invitation_closed"}
