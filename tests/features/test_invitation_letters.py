"""The letters of invitations: what they carry, when they are sent, how many a day."""

import asyncio
import hashlib
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar

from insula.core.ids import to_uuid
from insula.core.jobs import Services
from insula.core.limits import LocalBacklogs, judge
from insula.core.mail import Mailer, Relay
from insula.core.runner import Lease, Runner
from insula.features.invitations.jobs import HANDLERS
from insula.features.invitations.letters import Letters
from tests.factories import World
from tests.invitations import creation_of, events_of, fresh_address, invite, letters_for, token_of


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
    services = Services(mailer=mailer, keyring=world.keyring)
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
    assert await events_of(world, invitation["id"]) == [creation_of(invitation)]

    (job,) = await letters_for(world, invitation)
    ((to, text),) = await deliver(world, litestar, job)
    assert to == email
    assert f"{world.settings.base_url}/accept-invitation#token={await token_of(world, invitation)}" in text
    assert owner.person.name in text
    assert "Acme" in text
    assert '"Admin"' in text
    ends = datetime.fromisoformat(invitation["expires_at"]).astimezone(UTC)
    assert f"open until {ends.day} {ends:%B %Y, %H:%M} UTC." in " ".join(text.split())


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
    assert (await owner.client.post(owner.url(f"/invitations/{revoked['id']}/revocation"))).status_code == 200
    assert (await owner.client.post(owner.url(f"/invitations/{resent['id']}/resending"))).status_code == 200
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
