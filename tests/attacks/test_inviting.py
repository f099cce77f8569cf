"""Attacks on invitations: coming in uninvited, as somebody else, as more than one was asked to be, or twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar

from insula.app import create_litestar
from insula.core import tokens
from insula.core.crypto import Keys
from insula.core.http.access_log import AccessLog
from insula.core.ids import new_id, to_uuid
from insula.core.permissions import Role, may_grant
from insula.settings import Settings
from tests.conftest import running
from tests.factories import Member, Person, World, settings_for
from tests.invitations import PASSWORD, events_of, expire, fresh_address, invite, letters_for, members_of, token_of

PREVIEW, JOIN, DECLINE = (f"/v1/auth/invitations/{action}" for action in ("preview", "acceptance", "refusal"))
ACCEPT = "/v1/me/invitations/acceptance"


async def accept(world: World, person: Person, token: str) -> httpx.Response:
    return await world.client(person.token).post(ACCEPT, json={"token": token})


async def join(world: World, token: str) -> httpx.Response:
    return await world.client().post(JOIN, json={"token": token, "name": "Mallory", "password": PASSWORD})


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


@pytest.mark.attack(1)
async def test_a_neighbours_invitation_is_as_unknown_as_one_that_never_was(world: World) -> None:
    ours, theirs = await world.owner(), await world.owner()
    invitation = await invite(theirs)
    for method, path in (("GET", ""), ("POST", "/resending"), ("POST", "/revocation")):
        answers = [
            await ours.client.request(method, ours.url(f"/invitations/{invitation_id}{path}"))
            for invitation_id in (invitation["id"], new_id("inv"), new_id("prj"), "nonsense")
        ]
        bodies = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in answers]
        assert {answer.status_code for answer in answers} == {404}
        assert all(body == bodies[0] for body in bodies)
    assert (await theirs.client.get(theirs.url(f"/invitations/{invitation['id']}"))).json() == invitation
    assert (await ours.client.get(ours.url("/invitations"))).json()["data"] == []


@pytest.mark.attack(2)
async def test_somebody_elses_invitation_is_not_accepted_by_its_id(world: World) -> None:
    invitation, mallory = await invite(await world.owner()), await world.person()
    answers = [
        await world.client(mallory.token).post(f"/v1/me/invitations/{invitation_id}/acceptance")
        for invitation_id in (invitation["id"], new_id("inv"), new_id("org"), "nonsense")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["title"] for answer in answers}) == 1


@pytest.mark.attack(3)
@pytest.mark.parametrize(
    "bad",
    [
        {"email": "nobody", "role": "member"},
        {"email": None, "role": "member"},
        {"role": "member"},
        {"email": "a@b.example", "role": "god"},
        {"email": "a@b.example", "role": "owner"},
        {"email": "a@b.example", "role": "member", "tenant_id": "org_x"},
    ],
)
async def test_one_bad_row_among_a_hundred_writes_nothing(world: World, bad: dict[str, Any]) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    rows = [{"email": fresh_address(), "role": "member"} for _ in range(100)]
    rows[73] = bad
    before = await world.superuser.fetchval("SELECT count(*) FROM app.outbox")
    refused = await admin.client.post(admin.url("/invitations/batch"), json={"invitations": rows})
    assert refused.status_code in {400, 403}
    assert refused.json()["errors"][0]["pointer"].startswith("/invitations/73")
    assert (await owner.client.get(owner.url("/invitations"))).json()["data"] == []
    assert await world.superuser.fetchval("SELECT count(*) FROM app.outbox") == before


TOKEN = tokens.derive("invitation", new_id("crd"), b"k" * 32, 1)


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

    keys = Keys.from_secret(world.settings.secret)
    stored = tokens.digest(token, keys.credential).hex()
    credential = f"crd_{token[8:34]}"
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
        tokens.derive("invitation", credential, b"another key, of 32 bytes........", 1),
        tokens.derive("invitation", credential, keys.mailed_token, 2),
        tokens.derive("reset", credential, keys.mailed_token, 1),
        tokens.derive("verification", credential, keys.mailed_token, 1).replace("ins_ver_", "ins_inv_"),
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
    for email in (fresh_address(), "ada@example.com.evil.example", "ada+x@example.com", "аda@example.com"):
        mallory = await world.person(email=email)
        refused = await accept(world, mallory, token)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_account")
        assert (await world.client(mallory.token).get("/v1/me/invitations")).json()["data"] == []
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
    assert (await owner.client.post(owner.url(f"/invitations/{resent['id']}/resending"))).status_code == 201
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
    assert (await falls(owner, inviter)).status_code in {200, 201, 204}
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
        assert sorted((accepted.status_code, revoked.status_code)) == [201, 409]
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
    await world.superuser.execute(
        "UPDATE app.organization SET limits = '{\"members\": 2}' WHERE id = $1", to_uuid("org", owner.organization_id)
    )
    answers = await asyncio.gather(*(accept(world, *pair) for pair in zip(people, letters, strict=True)))
    assert sorted(answer.status_code for answer in answers) == [201] + [403] * 9
    assert len(await members_of(world, owner.organization_id)) == 2


@pytest.mark.attack(89)
async def test_nobody_invites_above_themselves(world: World) -> None:
    owner = await world.owner()
    for granter in Role:
        inviter = await world.member(owner.organization_id, granter)
        for role in Role:
            body = {"email": fresh_address(), "role": role}
            one = await inviter.client.post(inviter.url("/invitations"), json=body)
            many = await inviter.client.post(
                inviter.url("/invitations/batch"),
                json={
                    "invitations": [{"email": fresh_address(), "role": "viewer"}, {**body, "email": fresh_address()}]
                },
            )
            expected = 201 if may_grant(granter, role) else 403
            assert (one.status_code, many.status_code) == (expected, expected), (granter, role)


@pytest.mark.attack(89)
@pytest.mark.attack(138)
async def test_who_tries_to_invite_above_themselves_leaves_a_trace(world: World) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    refused = await admin.client.post(admin.url("/invitations"), json={"email": fresh_address(), "role": "owner"})
    assert (refused.status_code, refused.json()["code"]) == (403, "role_above_yours")
    ((kind, data),) = await events_of(world, admin.membership_id)
    assert (kind, data["permission"]) == ("access.denied", "invitations:write")


@pytest.mark.attack(89)
async def test_an_admin_neither_resends_nor_revokes_an_owners_invitation(world: World) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    invitation = await invite(owner, role="owner")
    for action in ("resending", "revocation"):
        refused = await admin.client.post(admin.url(f"/invitations/{invitation['id']}/{action}"))
        assert (refused.status_code, refused.json()["code"]) == (403, "role_above_yours")
    assert (await owner.client.get(owner.url(f"/invitations/{invitation['id']}"))).json() == invitation


@pytest.fixture(scope="module")
async def frugal(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    """An installation in which an organization may send ten invitations a day."""
    urls = {name: getattr(settings, name) for name in settings.__struct_fields__ if name.endswith("_url")}
    few = settings_for(**urls, limit_invitations_per_day=10)
    app = create_litestar(few)
    async with running(app):
        yield World(AccessLog(app), few, superuser)


def batch(rows: int) -> dict[str, Any]:
    return {"invitations": [{"email": fresh_address(), "role": "viewer"} for _ in range(rows)]}


@pytest.mark.attack(90)
async def test_an_organization_sends_so_many_letters_a_day(frugal: World) -> None:
    owner = await frugal.owner()
    for rows in (4, 3):
        made = await owner.client.post(owner.url("/invitations/batch"), json=batch(rows))
        assert made.status_code == 201, made.text
    too_many = await owner.client.post(owner.url("/invitations/batch"), json=batch(5))
    assert too_many.status_code == 429
    assert int(too_many.headers["retry-after"]) > 3600
    invitations = [await invite(owner) for _ in range(2)]
    resent = await owner.client.post(owner.url(f"/invitations/{invitations[0]['id']}/resending"))
    assert resent.status_code == 201
    for path, body in (
        ("/invitations", {"email": fresh_address(), "role": "viewer"}),
        ("/invitations/batch", batch(1)),
        (f"/invitations/{invitations[1]['id']}/resending", None),
    ):
        refused = await owner.client.post(owner.url(path), json=body)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited"), path
    listed = (await owner.client.get(owner.url("/invitations"))).json()["data"]
    assert len(listed) == 9
    assert sum([len(await letters_for(frugal, invitation)) for invitation in listed]) == 10
    await invite(await frugal.owner())


@pytest.mark.attack(90)
async def test_a_batch_above_the_days_limit_is_told_so(frugal: World) -> None:
    owner = await frugal.owner()
    refused = await owner.client.post(owner.url("/invitations/batch"), json=batch(11))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/invitations")
    assert (await owner.client.post(owner.url("/invitations/batch"), json=batch(10))).status_code == 201


@pytest.mark.attack(90)
async def test_one_mailbox_gets_so_many_letters_a_day_however_it_is_tried(world: World) -> None:
    owner, victim = await world.owner(), fresh_address("victim")
    invitation = await invite(owner, victim)
    for _ in range(2):
        assert (await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))).status_code == 201
    for _ in range(2):
        await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
        invitation = await invite(owner, victim.upper())
    again = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))
    assert (again.status_code, again.json()["code"]) == (429, "rate_limited")
    await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
    for path, body in (
        ("/invitations", {"email": victim, "role": "viewer"}),
        ("/invitations/batch", {"invitations": [{"email": victim, "role": "viewer"}, *batch(2)["invitations"]]}),
    ):
        assert (await owner.client.post(owner.url(path), json=body)).status_code == 429
    await invite(await world.owner(), victim)


@pytest.mark.attack(92)
async def test_fields_that_are_not_the_callers_to_set_are_refused(world: World) -> None:
    owner = await world.owner()
    for field in ("id", "tenant_id", "status", "invited_by", "expires_at", "sendings", "credential_id", "version"):
        row = {"email": fresh_address(), "role": "viewer", field: "x"}
        assert (await owner.client.post(owner.url("/invitations"), json=row)).status_code == 400, field
        refused = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": [row]})
        assert refused.status_code == 400, field


class Inside:
    """SQL of the attacker's choice in a transaction that the door let into their own organization."""

    def __init__(self, litestar: Litestar, member: Member) -> None:
        keys, self._database = litestar.state.keyring, litestar.state.databases.rw
        self._entry = (tokens.digest(member.person.token, keys.credential), to_uuid("org", member.organization_id))

    async def run(self, *statements: tuple[Any, ...]) -> list[asyncpg.Record]:
        async with self._database.transaction() as db:
            await db.driver.fetchrow("SELECT * FROM app.enter($1, $2)", *self._entry)
            for sql, *binds in statements:
                found: list[asyncpg.Record] = await db.driver.fetch(sql, *binds)
            await db.commit()
        return found


@pytest.mark.attack(15)
async def test_not_even_sql_gives_a_neighbours_invitation_another_token(world: World, litestar: Litestar) -> None:
    ours, theirs = await world.owner(), await world.owner()
    invitation, own = await invite(theirs), await invite(ours)
    victim = to_uuid("inv", invitation["id"])
    row = await world.superuser.fetchrow("SELECT * FROM app.credential WHERE subject_id = $1", victim)
    session = await world.superuser.fetchrow(
        "SELECT * FROM app.credential WHERE user_id = $1", to_uuid("usr", theirs.person.id)
    )
    inside = Inside(litestar, ours)
    await inside.run(("SELECT app.arm_invitations($1, $2)", [victim], [b"x" * 32]))
    await inside.run(("SELECT app.disarm_invitations($1)", [victim]))
    plant = (
        "INSERT INTO app.invitation (id, email, email_norm, role, status, credential_id, sendings, expires_at,"
        " created_at, updated_at, version) VALUES ($1, $2, $2, 'viewer', 'pending', $3, 1,"
        " now() + interval '1 day', now(), now(), 1)"
    )
    for number, target in enumerate((row, session)):
        fresh = to_uuid("inv", new_id("inv"))
        await inside.run(
            (plant, fresh, f"m{number}@x.de", target["id"]),
            ("SELECT app.arm_invitations($1, $2)", [fresh], [bytes([number]) * 32]),
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await inside.run(("UPDATE app.invitation SET credential_id = $1", row["id"]))
    assert await world.superuser.fetchrow("SELECT * FROM app.credential WHERE id = $1", row["id"]) == row
    found = await world.superuser.fetchval("SELECT hash FROM app.credential WHERE id = $1", session["id"])
    assert found == session["hash"]
    assert (await theirs.client.get(theirs.url(f"/invitations/{invitation['id']}"))).json() == invitation
    assert (await ours.client.get(ours.url(f"/invitations/{own['id']}"))).json() == own


@pytest.mark.attack(15)
async def test_inside_an_organization_sql_sees_and_accepts_nothing_of_others(world: World, litestar: Litestar) -> None:
    ours, theirs = await world.owner(), await world.owner()
    invitation = await invite(theirs, ours.person.email)
    digest = tokens.digest(await token_of(world, invitation), litestar.state.keyring.credential)
    inside = Inside(litestar, ours)
    assert await inside.run(("SELECT * FROM app.my_invitations()",)) == []
    ids = [to_uuid("mem", new_id("mem")), to_uuid("evt", new_id("evt")), to_uuid("evt", new_id("evt"))]
    for token, wanted in ((digest, None), (None, to_uuid("inv", invitation["id"]))):
        (verdict,) = await inside.run(
            ("SELECT verdict FROM app.accept_invitation($1, $2, '', 9, $3, $4, '{}')", token, wanted, ids, ids[0])
        )
        assert verdict["verdict"] == "unknown"
    for door in (
        "preview_invitation(NULL)",
        "decline_invitation(NULL, NULL, NULL)",
        "take_invitation(NULL, NULL)",
        "take_invitation_of(NULL)",
        "invitation_verdict(NULL, NULL)",
        "close_invitation(NULL, NULL, NULL)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await inside.run((f"SELECT app.{door}",))
