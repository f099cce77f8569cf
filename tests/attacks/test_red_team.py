"""Attacks that once succeeded: slow parsers, an unseen look at the log, a letter that proves another address."""

import time
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from litestar import Litestar

from insula.core.http.authentication import COOKIE
from insula.core.ids import new_id, to_uuid
from insula.core.jobs import JobContext, Services
from insula.core.mail import Mail, Mailer, Relay
from insula.features.invitations.jobs import send_invitation
from insula.features.invitations.schemas import SendInvitation
from insula.settings import Settings
from tests.attacks.test_inviting import Inside
from tests.factories import Member, World
from tests.invitations import accept, fresh_address, invite, join, token_of

LIMIT_SECONDS = 1.0
"""Of CPU, for what took ten to a hundred of them."""

PLANT = (
    "INSERT INTO app.invitation (id, email, email_norm, role, status, invited_by, credential_id, sendings, expires_at,"
    " created_at, updated_at, version) VALUES ($1, $2, $3, 'viewer', 'pending', $4, $5, 1, now() + interval '1 day',"
    " now(), now(), 1)"
)


@pytest.mark.attack(117)
async def test_a_body_of_many_names_one_of_them_twice_is_refused_at_once(world: World) -> None:
    names = [f'"{number:x}":1' for number in range(7_000)]
    body = "{" + ",".join([*names, names[-1]]) + "}"
    owner = await world.owner()
    began = time.process_time()
    answer = await owner.client.post(owner.url("/projects"), content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert time.process_time() - began < LIMIT_SECONDS


@pytest.mark.attack(117)
async def test_a_cookie_of_backslashes_is_refused_at_once(world: World) -> None:
    for cookie in (f'{COOKIE}="' + "\\a" * 30_000 + '"', f"{COOKIE}=" + '"\\' * 30_000, "; " * 30_000):
        began = time.process_time()
        assert (await world.client().get("/v1/me", headers={"cookie": cookie})).status_code == 401
        assert time.process_time() - began < LIMIT_SECONDS


async def test_no_cursor_is_longer_than_what_is_taken_back(world: World) -> None:
    owner = await world.owner()
    for last in "abc":
        made = await owner.client.post(owner.url("/teams"), json={"name": "\U0001f600" * 199 + last})
        assert made.status_code == 201
    seen: list[str] = []
    params: dict[str, Any] = {"sort": "name", "limit": 1}
    while len(seen) < 3:
        page = await owner.client.get(owner.url("/teams"), params=params)
        assert page.status_code == 200, page.text
        seen += [team["name"][-1] for team in page.json()["data"]]
        params["cursor"] = page.json()["next_cursor"]
    assert seen == ["a", "b", "c"]


@pytest.mark.attack(139)
async def test_no_empty_cursor_lets_somebody_look_at_the_log_unseen(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    await owner.client.patch(owner.url(""), json={"name": "Another"}, headers={"if-match": "*"})
    answer = await owner.client.get(owner.url("/events"), params={"cursor": ""})
    looks = await superuser.fetchval(
        "SELECT count(*) FROM app.event WHERE tenant_id = $1 AND type = 'audit.read'",
        to_uuid("org", owner.organization_id),
    )
    assert answer.status_code == 400 or looks == 1


@pytest.mark.attack(15)
async def test_not_even_sql_sends_a_letter_that_proves_another_address(world: World, litestar: Litestar) -> None:
    ours = await world.owner()
    inviter, fresh = to_uuid("mem", ours.membership_id), to_uuid("inv", new_id("inv"))
    with pytest.raises(asyncpg.CheckViolationError):
        await Inside(litestar, ours).run((PLANT, fresh, "mallory@evil.example", fresh_address(), inviter, uuid4()))


@pytest.mark.attack(15)
async def test_not_even_the_login_of_sign_up_has_a_letter_prove_another_address(settings: Settings) -> None:
    intruder = await asyncpg.connect(settings.identity_database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await intruder.execute(
                "SELECT app.sign_up($1, 'mallory@evil.example', $2, 'Mallory', 'hash', $3, $4, '{}', NULL)",
                uuid4(), fresh_address("victim"), uuid4(), uuid4(),
            )  # fmt: skip
    finally:
        await intruder.close()


async def letter(litestar: Litestar, owner: Member, invitation: str, *, sending: int) -> Mail:
    """What the worker would send."""
    mailer = Mailer(Relay(host="", port=1), sender="a@example.com", sender_name="", base_url="")
    context = JobContext(new_id("job"), 1, Services(mailer=mailer, keyring=litestar.state.keyring))
    async with litestar.state.databases.rw.transaction() as db:
        await db.driver.fetchrow(
            "SELECT * FROM app.enter($1, $2)",
            litestar.state.keyring.digest(owner.person.token), to_uuid("org", owner.organization_id),
        )  # fmt: skip
        mail = await send_invitation(db, SendInvitation(invitation_id=invitation, sending=sending), context)
    assert mail is not None
    return mail


@pytest.mark.attack(15)
@pytest.mark.attack(85)
async def test_two_invitations_that_sql_gave_one_credential_have_different_tokens(
    world: World, litestar: Litestar
) -> None:
    ours, victim = await world.owner(), fresh_address("victim")
    inviter, shared = to_uuid("mem", ours.membership_id), uuid4()
    planted = [(new_id("inv"), fresh_address("mallory")), (new_id("inv"), victim)]
    inside = Inside(litestar, ours)
    for invitation, address in planted:
        await inside.run((PLANT, to_uuid("inv", invitation), address, address, inviter, shared))
    mallorys, victims = (invitation for invitation, _ in planted)
    sent = await ours.client.post(ours.url(f"/invitations/{victims}/resending"))
    assert sent.status_code == 200
    # The victim's link is armed now. The worker writes the attacker's letter, about the same credential.
    await inside.run(("UPDATE app.invitation SET sendings = 2 WHERE id = $1", to_uuid("inv", mallorys)))
    mail = await letter(litestar, ours, mallorys, sending=2)
    assert mail.to == planted[0][1]
    assert (await join(world, mail.context["token"])).json()["code"] == "link_invalid"
    found = await world.superuser.fetchval('SELECT id FROM app."user" WHERE email_norm = $1', victim)
    assert found is None


@pytest.mark.attack(15)
@pytest.mark.attack(85)
async def test_no_row_of_ones_own_brings_another_organizations_token(world: World, litestar: Litestar) -> None:
    ours, theirs, victim = await world.owner(), await world.owner(), fresh_address("victim")
    invitation = await invite(theirs, victim, role="admin")
    key = to_uuid("inv", invitation["id"])
    credential = await world.superuser.fetchval("SELECT credential_id FROM app.invitation WHERE id = $1", key)
    inside, inviter, genuine = (
        Inside(litestar, ours),
        to_uuid("mem", ours.membership_id),
        await token_of(world, invitation),
    )
    for twin in (new_id("inv"), invitation["id"]):
        await inside.run((PLANT, to_uuid("inv", twin), victim, victim, inviter, credential))
        mail = await letter(litestar, ours, twin, sending=1)
        assert mail.to == victim
        assert (await join(world, mail.context["token"])).json()["code"] == "link_invalid"
        await inside.run(("UPDATE app.invitation SET status = 'revoked' WHERE id = $1", to_uuid("inv", twin)))
    for lookalike in (victim.replace("@", "@fa\u00df."), f"\u212a{victim}"):
        with pytest.raises(asyncpg.CheckViolationError):
            await inside.run((PLANT, uuid4(), lookalike, lookalike, inviter, credential))
    assert (await join(world, genuine)).status_code == 201


@pytest.mark.attack(15)
async def test_an_id_that_another_organization_gave_again_leads_nowhere_else(world: World, litestar: Litestar) -> None:
    ours, theirs, invited = await world.owner(), await world.owner(), await world.person()
    invitation = await invite(theirs, invited.email)
    genuine = await token_of(world, invitation)
    twin = (
        PLANT,
        to_uuid("inv", invitation["id"]),
        invited.email,
        invited.email,
        to_uuid("mem", ours.membership_id),
        uuid4(),
    )
    await Inside(litestar, ours).run(twin)
    client = world.client(invited.token)
    for verb in ("acceptance", "refusal"):
        answer = await client.post(f"/v1/me/invitations/{invitation['id']}/{verb}")
        assert answer.status_code == 404, answer.text
    assert (await accept(world, invited, genuine)).status_code == 201
    assert (await client.get(ours.url(""))).status_code == 404
    assert (await client.get(theirs.url(""))).status_code == 200


@pytest.mark.attack(15)
async def test_who_was_invited_once_holds_nobody_up(world: World, litestar: Litestar) -> None:
    owner, invited = await world.owner(), await world.person()
    invitation = await invite(owner, invited.email)
    revoked = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
    assert revoked.status_code == 200, revoked.text
    async with litestar.state.databases.rw.transaction() as db:
        await db.driver.fetchrow("SELECT * FROM app.enter($1, NULL)", world.digest(invited.token))
        verdict = await db.driver.fetchval(
            "SELECT verdict FROM app.accept_invitation(NULL, $1, 'x', 10, $2, NULL, '{}')",
            to_uuid("inv", invitation["id"]), uuid4(),
        )  # fmt: skip
        assert verdict == "revoked"
        began = time.monotonic()
        renamed = await owner.client.patch(owner.url(""), json={"name": "Renamed"}, headers={"if-match": '"1"'})
        assert renamed.status_code == 200, renamed.text
        assert time.monotonic() - began < 2


@pytest.mark.attack(97)
async def test_one_key_in_another_organization_session_or_hand_is_another_key(world: World) -> None:
    owner = await world.owner()
    colleague = await world.member(owner.organization_id, "admin")
    elsewhere = await world.member((await world.owner()).organization_id, "owner", owner.person)
    again = world.client(await world.session(owner.person.id))
    key, made = {"idempotency-key": "the same"}, set()
    for client, url in (
        (owner.client, owner.url("/invitations")),
        (colleague.client, owner.url("/invitations")),
        (elsewhere.client, elsewhere.url("/invitations")),
        (again, owner.url("/invitations")),
    ):
        answer = await client.post(url, json={"email": fresh_address(), "role": "viewer"}, headers=key)
        assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (201, None)
        made.add(answer.json()["id"])
    assert len(made) == 4
    assert (await invite(owner))["id"] not in made


@pytest.mark.attack(122)
@pytest.mark.parametrize(
    "name", ["\u200b", "\u3000\u00a0", "\ufeff", "\u3164", "Ac\u00adme", "Acme \u202etxt.exe", "\u2066Acme"]
)
async def test_no_name_is_invisible_or_turns_the_text_around_it(world: World, name: str) -> None:
    owner = await world.owner()
    for method, path, body in (
        ("POST", owner.url("/teams"), {"name": name}),
        ("PATCH", owner.url(""), {"name": name}),
        ("PATCH", "/v1/me", {"name": name}),
        ("POST", "/v1/auth/sign-up", {"name": name, "email": fresh_address(), "password": "p" * 20}),
    ):
        answer = await owner.client.request(method, path, json=body, headers={"if-match": "*"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/name")


async def test_names_of_all_languages_are_taken(world: World) -> None:
    owner = await world.owner()
    for name in (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u5c71\u7530 \u592a\u90ce",
    ):
        made = await owner.client.post(owner.url("/teams"), json={"name": name})
        assert (made.status_code, made.json()["name"]) == (201, name)
