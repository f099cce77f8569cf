"""Inviting people over HTTP: what members do, and the letters that follow."""

import asyncio
import hashlib
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar

from insula.core.crypto import Keys
from insula.core.ids import new_id, to_uuid
from insula.core.jobs import Services
from insula.core.limits import LocalBacklogs, judge
from insula.core.mail import Mailer, Relay
from insula.core.permissions import Role, may_grant
from insula.core.runner import Lease, Runner
from insula.features.invitations.jobs import HANDLERS
from insula.features.invitations.letters import Letters
from tests.factories import World
from tests.invitations import events_of, expire, fresh_address, invite, letters_for, token_of


class Postbox:
    """A mail server that keeps what it takes: to whom, and the text."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.letters.append((envelope.rcpt_tos[0], message.get_body(("plain",)).get_content()))
        return "250 OK"


async def deliver(world: World, litestar: Litestar, job_id: str) -> list[tuple[str, str]]:
    """Run a letter's job as a worker would; returns what arrived."""
    postbox, loop = Postbox(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(postbox, hostname="localhost", loop=loop), "127.0.0.1", 0)
    mailer = Mailer(
        Relay(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls="none"),
        sender="hello@insula.test",
        sender_name="Insula",
        base_url=world.settings.base_url,
    )
    services = Services(mailer=mailer, keys=Keys.from_secret(world.settings.secret))
    secret = b"secret of this lease"
    await world.superuser.execute(
        "UPDATE app.outbox SET status = 'leased', lease_hash = $2, attempt = 1,"
        " leased_until = now() + interval '1 minute' WHERE id = $1",
        to_uuid("job", job_id),
        hashlib.sha256(secret).digest(),
    )
    try:
        await Runner(litestar.state.databases.rw, HANDLERS, services, 60).run(Lease(job_id, secret))
    finally:
        server.close()
    return postbox.letters


async def test_somebody_is_invited_by_a_letter(world: World, litestar: Litestar) -> None:
    owner = await world.owner("Acme")
    email = fresh_address("Grace")
    made = await owner.client.post(owner.url("/invitations"), json={"email": email, "role": "admin"})
    assert made.status_code == 201, made.text
    invitation = made.json()
    assert invitation["id"].startswith("inv_")
    assert (invitation["email"], invitation["role"], invitation["status"]) == (email, "admin", "pending")
    assert (invitation["acceptable"], invitation["sendings"]) == (True, 1)
    assert invitation["invited_by"] == owner.membership_id
    assert "token" not in made.text
    assert (await owner.client.get(owner.url(f"/invitations/{invitation['id']}"))).json() == invitation
    assert await events_of(world, invitation["id"]) == [("invitation.created", {"role": "admin"})]

    (job,) = await letters_for(world, invitation)
    ((to, text),) = await deliver(world, litestar, job)
    assert to == email
    assert f"{world.settings.base_url}/accept-invitation#token={await token_of(world, invitation)}" in text
    assert owner.person.name in text
    assert "Acme" in text
    assert '"Admin"' in text


async def test_no_queue_and_no_table_holds_the_token(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    token = await token_of(world, invitation)
    for table in ("outbox", "event", "invitation", "credential"):
        rows = await world.superuser.fetch(f"SELECT row_to_json(t)::text AS row FROM app.{table} AS t")
        assert rows
        assert not [row for row in rows if token in row["row"] or token[-20:] in row["row"]]


async def test_a_letter_is_not_sent_for_what_became_pointless(world: World, litestar: Litestar) -> None:
    owner = await world.owner()
    revoked, resent, orphaned = await invite(owner), await invite(owner), None
    admin = await world.member(owner.organization_id, "admin")
    orphaned = await invite(admin)
    assert (await owner.client.post(owner.url(f"/invitations/{revoked['id']}/revocation"))).status_code == 201
    assert (await owner.client.post(owner.url(f"/invitations/{resent['id']}/resending"))).status_code == 201
    await world.superuser.execute("DELETE FROM app.membership WHERE email = $1", admin.person.email)

    assert await deliver(world, litestar, (await letters_for(world, revoked))[0]) == []
    assert await deliver(world, litestar, (await letters_for(world, orphaned))[0]) == []
    first, second = await letters_for(world, resent)
    assert await deliver(world, litestar, first) == []
    ((_, text),) = await deliver(world, litestar, second)
    assert await token_of(world, resent, sending=2) in text
    statuses = await world.superuser.fetch(
        "SELECT DISTINCT status FROM app.outbox WHERE id = ANY ($1)", [to_uuid("job", job) for job in (first, second)]
    )
    assert [row["status"] for row in statuses] == ["done"]


async def test_an_address_has_one_open_invitation_whatever_its_case(world: World) -> None:
    owner = await world.owner()
    email = fresh_address("Ada")
    invitation = await invite(owner, email)
    for same in (email, email.upper(), email.lower()):
        again = await owner.client.post(owner.url("/invitations"), json={"email": same, "role": "viewer"})
        assert (again.status_code, again.json()["code"]) == (409, "invitation_open")
    await owner.client.post(owner.url(f"/invitations/{invitation['id']}/revocation"))
    assert (await invite(owner, email.upper()))["id"] != invitation["id"]


async def test_twenty_invitations_to_one_address_at_once_are_one(world: World) -> None:
    owner = await world.owner()
    body = {"email": fresh_address(), "role": "member"}
    answers = await asyncio.gather(*(owner.client.post(owner.url("/invitations"), json=body) for _ in range(20)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * 19
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"invitation_open"}


async def test_who_invites_a_moment_later_does_not_expire_the_first_invitation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, email, first = await world.owner(), fresh_address(), []
    take = Letters.take

    async def overtaken(self: Letters, organization_id: str, addresses: list[str]) -> None:
        if not first:
            first.append("on its way")
            first[0] = (await invite(owner, email))["id"]
        await take(self, organization_id, addresses)

    monkeypatch.setattr(Letters, "take", overtaken)
    second = await owner.client.post(owner.url("/invitations"), json={"email": email, "role": "member"})
    assert (second.status_code, second.json()["code"]) == (409, "invitation_open")
    listed = (await owner.client.get(owner.url("/invitations"))).json()["data"]
    assert [(row["id"], row["status"]) for row in listed] == [(first[0], "pending")]


async def test_a_member_is_not_invited_again(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "viewer")
    again = await owner.client.post(
        owner.url("/invitations"), json={"email": member.person.email.upper(), "role": "member"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "already_member")


@pytest.mark.attack(8)
async def test_inviting_tells_nothing_about_people_of_other_organizations(world: World) -> None:
    ours, theirs = await world.owner(), await world.owner()
    known = (await world.member(theirs.organization_id, "member")).person.email
    invited = (await invite(theirs))["email"]
    answers = [await invite(ours, email) for email in (known, invited, fresh_address())]
    assert len({tuple(sorted(answer)) for answer in answers}) == 1
    assert {answer["status"] for answer in answers} == {"pending"}


async def test_an_expired_invitation_says_so_and_makes_room_for_a_new_one(world: World) -> None:
    owner = await world.owner()
    old = await invite(owner)
    await expire(world, old)
    shown = (await owner.client.get(owner.url(f"/invitations/{old['id']}"))).json()
    assert (shown["status"], shown["acceptable"]) == ("expired", False)

    async def ids(status: str) -> list[str]:
        page = await owner.client.get(owner.url(f"/invitations?status={status}"))
        return [row["id"] for row in page.json()["data"]]

    assert (await ids("pending"), await ids("expired")) == ([], [old["id"]])
    new = await invite(owner, old["email"])
    assert (await ids("pending"), await ids("expired")) == ([new["id"]], [old["id"]])
    assert [kind for kind, _ in await events_of(world, old["id"])] == ["invitation.created", "invitation.expired"]
    closed = await owner.client.post(owner.url(f"/invitations/{old['id']}/resending"))
    assert (closed.status_code, closed.json()["code"]) == (409, "invitation_closed")


async def test_an_expired_invitation_can_be_sent_again(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    early = await token_of(world, invitation)
    await expire(world, invitation)
    again = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))
    assert again.status_code == 201, again.text
    assert (again.json()["status"], again.json()["sendings"], again.json()["acceptable"]) == ("pending", 2, True)
    assert again.json()["expires_at"] > invitation["created_at"]
    stranger = world.client()
    dead = await stranger.post("/v1/auth/invitations/preview", json={"token": early})
    assert (dead.status_code, dead.json()["code"]) == (400, "link_invalid")
    alive = await stranger.post("/v1/auth/invitations/preview", json={"token": await token_of(world, invitation)})
    assert alive.status_code == 200, alive.text
    assert await events_of(world, invitation["id"]) == [
        ("invitation.created", {"role": "member"}),
        ("invitation.resent", {"sendings": 2}),
    ]


async def test_resending_works_after_the_credential_was_purged(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    await expire(world, invitation)
    await world.superuser.execute("DELETE FROM app.credential WHERE subject_id = $1", to_uuid("inv", invitation["id"]))
    assert (await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))).status_code == 201
    alive = await world.client().post("/v1/auth/invitations/preview", json={"token": await token_of(world, invitation)})
    assert alive.status_code == 200


async def test_whoever_resends_answers_for_the_invitation(world: World) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    invitation = await invite(admin, role="admin")
    await world.superuser.execute("UPDATE app.membership SET role = 'member' WHERE email = $1", admin.person.email)
    url = owner.url(f"/invitations/{invitation['id']}")
    shown = (await owner.client.get(url)).json()
    assert (shown["status"], shown["acceptable"], shown["invited_by"]) == ("pending", False, admin.membership_id)
    await world.superuser.execute("DELETE FROM app.membership WHERE email = $1", admin.person.email)
    shown = (await owner.client.get(url)).json()
    assert (shown["status"], shown["acceptable"], shown["invited_by"]) == ("pending", False, None)
    again = (await owner.client.post(f"{url}/resending")).json()
    assert (again["acceptable"], again["invited_by"]) == (True, owner.membership_id)


async def test_a_revoked_invitation_stays_revoked(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    url = owner.url(f"/invitations/{invitation['id']}")
    revoked = await owner.client.post(f"{url}/revocation")
    assert revoked.status_code == 201, revoked.text
    assert (revoked.json()["status"], revoked.json()["acceptable"]) == ("revoked", False)
    for action in ("revocation", "resending"):
        again = await owner.client.post(f"{url}/{action}")
        assert (again.status_code, again.json()["code"]) == (409, "invitation_closed")
    reason = await world.superuser.fetchval(
        "SELECT revoked_reason FROM app.credential WHERE subject_id = $1", to_uuid("inv", invitation["id"])
    )
    assert reason == "revoked"
    assert [kind for kind, _ in await events_of(world, invitation["id"])] == [
        "invitation.created",
        "invitation.revoked",
    ]


async def test_what_became_of_a_member_is_not_resent(world: World) -> None:
    owner = await world.owner()
    invitation = await invite(owner)
    await world.member(owner.organization_id, "viewer", await world.person(email=invitation["email"]))
    again = await owner.client.post(owner.url(f"/invitations/{invitation['id']}/resending"))
    assert (again.status_code, again.json()["code"]) == (409, "already_member")


async def test_invitations_are_listed_by_status_prefix_and_order(world: World) -> None:
    owner = await world.owner()
    made = [await invite(owner, fresh_address(name)) for name in ("zoe", "Bob", "amy", "bea")]
    await owner.client.post(owner.url(f"/invitations/{made[0]['id']}/revocation"))
    names = {row["id"]: row["email"].split(".")[0] for row in made}

    async def found(**query: Any) -> list[str]:
        shown: list[str] = []
        while True:
            page = await owner.client.get(owner.url("/invitations"), params={"limit": 2, **query})
            assert page.status_code == 200, page.text
            shown += [names[row["id"]] for row in page.json()["data"]]
            if page.json()["next_cursor"] is None:
                return shown
            query["cursor"] = page.json()["next_cursor"]

    assert await found() == ["bea", "amy", "Bob", "zoe"]
    assert await found(sort="email") == ["amy", "bea", "Bob", "zoe"]
    assert await found(sort="-email", status="pending") == ["Bob", "bea", "amy"]
    assert await found(status="revoked") == ["zoe"]
    assert await found(email_prefix="B", sort="email") == ["bea", "Bob"]
    for status in ("accepted", "declined", "expired"):
        assert await found(status=status) == []
    assert (await owner.client.get(owner.url("/invitations?status=open"))).status_code == 400


async def test_a_batch_invites_everybody_in_its_order(world: World) -> None:
    owner = await world.owner()
    rows = [{"email": fresh_address(f"p{number:03}"), "role": "viewer"} for number in range(100)]
    made = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": rows})
    assert made.status_code == 201, made.text
    assert [row["email"] for row in made.json()["data"]] == [row["email"] for row in rows]
    assert all(row["acceptable"] for row in made.json()["data"])
    for row in made.json()["data"][::33]:
        assert len(await letters_for(world, row)) == 1
        assert await events_of(world, row["id"]) == [("invitation.created", {"role": "viewer"})]
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


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "a b@example.com",
        "аda@example.com",
        "a@b@c.de",
        "ada@example",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: x@y.de",
    ],
)
async def test_what_is_not_an_address_is_malformed(world: World, email: str) -> None:
    owner = await world.owner()
    answer = await owner.client.post(owner.url("/invitations"), json={"email": email, "role": "member"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/email")


async def test_an_organization_that_is_full_invites_nobody(world: World) -> None:
    owner = await world.owner()
    await world.superuser.execute(
        "UPDATE app.organization SET limits = '{\"members\": 1}' WHERE id = $1", to_uuid("org", owner.organization_id)
    )
    full = await owner.client.post(owner.url("/invitations"), json={"email": fresh_address(), "role": "member"})
    assert (full.status_code, full.json()["code"]) == (403, "limit_reached")


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [("owner", 200, 201), ("admin", 200, 201), ("member", 403, 403), ("viewer", 403, 403), ("billing", 403, 403)],
)
async def test_staff_sees_and_sends_invitations(world: World, role: str, reads: int, writes: int) -> None:
    owner = await world.owner()
    caller = await world.member(owner.organization_id, role)
    invitation = await invite(owner, role="viewer")
    url = caller.url(f"/invitations/{invitation['id']}")
    assert (await caller.client.get(caller.url("/invitations"))).status_code == reads
    assert (await caller.client.get(url)).status_code == reads
    new = await caller.client.post(caller.url("/invitations"), json={"email": fresh_address(), "role": "viewer"})
    assert new.status_code == writes
    assert (await caller.client.post(f"{url}/resending")).status_code == writes
    assert (await caller.client.post(f"{url}/revocation")).status_code == writes


async def test_a_repeated_request_invites_once(world: World) -> None:
    owner = await world.owner()
    body = {"email": fresh_address(), "role": "member"}
    key = {"idempotency-key": new_id("x")}
    first = await owner.client.post(owner.url("/invitations"), json=body, headers=key)
    second = await owner.client.post(owner.url("/invitations"), json=body, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(await letters_for(world, first.json())) == 1


async def test_the_doors_and_the_program_agree_who_grants_what(world: World) -> None:
    names = [*Role, "", "nobody"]
    for granter in names:
        for role in names:
            by_door = await world.superuser.fetchval("SELECT app.may_grant($1, $2)", granter, role)
            assert by_door == may_grant(granter, role), (granter, role)


@given(
    per_day=st.integers(1, 40),
    batches=st.lists(st.integers(1, 12), min_size=1, max_size=30),
)
def test_batches_never_send_more_than_a_day_allows(per_day: int, batches: list[int]) -> None:
    backlogs, sent = LocalBacklogs(lambda: 0), 0
    letters = Letters(None, None, per_day)  # type: ignore[arg-type]
    for size in batches:
        if size > per_day:
            continue
        limits = [("key", letters._all_at_once(size))]
        decision = judge(limits, backlogs.decide(limits, take=True), take=True)
        sent += size * decision.allowed
        # A single letter goes as long as there is room; what is rounded off may cost one.
        assert decision.allowed or size > 1 or sent + 1 >= per_day
    assert sent <= per_day
