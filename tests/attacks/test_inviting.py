"""Attacks by those who invite: above themselves, into other organizations, without end."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from litestar import Litestar

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from insula.core.ids import new_id, to_uuid
from insula.core.permissions import Role, may_grant
from insula.settings import Settings
from tests.conftest import running
from tests.factories import Member, World, settings_for
from tests.invitations import events_of, fresh_address, invite, letters_for, token_of


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
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/role"]
    ((kind, data),) = await events_of(world, admin.membership_id)
    assert kind == "access.denied"
    assert data == {
        "permission": "invitations:write",
        "operation": "create_invitation",
        "reason": "role_above_theirs",
    }


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
    assert resent.status_code == 200
    for path, body in (
        ("/invitations", {"email": fresh_address(), "role": "viewer"}),
        ("/invitations/batch", batch(1)),
        (f"/invitations/{invitations[1]['id']}/resending", None),
    ):
        refused = await owner.client.post(owner.url(path), json=body)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited"), path
        assert refused.json()["detail"].startswith("10 letters a day are sent by one person. Try again in ")
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
async def test_one_mailbox_gets_fewer_letters_while_redis_is_away_and_the_refusal_says_so(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    alone = create_litestar(msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1"))
    async with running(alone):
        owner, victim = await World(AccessLog(alone), settings, superuser).owner(), fresh_address("victim")
        invitation = await invite(owner, victim)
        again = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))
    assert (again.status_code, again.json()["code"]) == (429, "rate_limited")
    assert again.json()["detail"].startswith("1 letter a day to one address is sent by one person. ")


@pytest.mark.attack(90)
async def test_one_mailbox_gets_so_many_letters_a_day_however_it_is_tried(world: World) -> None:
    owner, victim = await world.owner(), fresh_address("victim")
    invitation = await invite(owner, victim)
    for _ in range(2):
        assert (await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))).status_code == 200
    for _ in range(2):
        await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
        invitation = await invite(owner, victim.upper())
    again = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))
    assert (again.status_code, again.json()["code"]) == (429, "rate_limited")
    assert again.json()["detail"].startswith("5 letters a day to one address are sent by one person. ")
    await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
    for path, body in (
        ("/invitations", {"email": victim, "role": "viewer"}),
        ("/invitations/batch", {"invitations": [{"email": victim, "role": "viewer"}, *batch(2)["invitations"]]}),
    ):
        assert (await owner.client.post(owner.url(path), json=body)).status_code == 429
    await invite(await world.owner(), victim)


@pytest.mark.attack(90)
async def test_one_person_sends_no_more_letters_to_a_mailbox_with_many_organizations(world: World) -> None:
    person, victim = await world.person(), fresh_address("victim")
    client = world.client(person.token)
    answers = []
    for number in range(7):
        organization = (await client.post("/v1/organizations", json={"name": f"Front {number}"})).json()["id"]
        url, body = f"/v1/organizations/{organization}/invitations", {"email": victim, "role": "viewer"}
        answers.append((await client.post(url, json=body)).status_code)
    assert answers == [201] * 5 + [429] * 2


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
        self._database = litestar.state.databases.rw
        self._entry = (litestar.state.keyring.digest(member.person.token), to_uuid("org", member.organization_id))

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
    digest = world.digest(await token_of(world, invitation))
    inside = Inside(litestar, ours)
    assert await inside.run(("SELECT * FROM app.my_invitations()",)) == []
    member = to_uuid("mem", new_id("mem"))
    for token, wanted in ((digest, None), (None, to_uuid("inv", invitation["id"]))):
        (verdict,) = await inside.run(
            ("SELECT verdict FROM app.accept_invitation($1, $2, '', 9, $3, $4, '{}')", token, wanted, member, member)
        )
        assert verdict["verdict"] == "unknown"
    for door in (
        "preview_invitation(NULL)",
        "decline_invitation(NULL)",
        "take_invitation(NULL, NULL)",
        "take_invitation_of(NULL)",
        "invitation_verdict(NULL, NULL)",
        "close_invitation(NULL, NULL, NULL)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await inside.run((f"SELECT app.{door}",))
