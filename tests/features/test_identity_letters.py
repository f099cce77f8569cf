"""The letters of sign-up and sign-in, written by the jobs that a worker runs."""

import hashlib
import secrets
from email.message import EmailMessage

from litestar import Litestar

from insula.core.ids import to_text, to_uuid
from insula.core.jobs import Services
from insula.core.mail import Mail, Mailer, Relay
from insula.core.runner import Lease, Runner
from insula.features.identity.jobs import HANDLERS
from tests.factories import World
from tests.features.signing_in import NEW_PASSWORD, PASSWORD

_LEASE = """
UPDATE app.outbox AS o
   SET status = 'leased', lease_hash = $2, leased_until = now() + interval '1 minute', attempt = attempt + 1
  FROM app."user" AS u
 WHERE u.id = o.user_id AND u.email_norm = $1 AND o.status = 'due' AND o.task LIKE 'identity.%'
RETURNING o.id
"""


class Mailbox:
    """Everybody's mailbox: runs the jobs of an address's letters as a worker would, and keeps what they send."""

    def __init__(self, world: World, litestar: Litestar) -> None:
        self._superuser = world.superuser
        self.mailer = _Mailer()
        services = Services(mailer=self.mailer, keyring=litestar.state.keyring)
        self._runner = Runner(litestar.state.databases.rw, HANDLERS, services, 30)

    async def open(self, address: str) -> list[Mail]:
        """The letters that were asked for since the last look, oldest first."""
        self.mailer.sent.clear()
        lease = secrets.token_bytes(32)
        jobs = await self._superuser.fetch(_LEASE, address.casefold(), hashlib.sha256(lease).digest())
        for job in sorted(row["id"] for row in jobs):
            await self._runner.run(Lease(to_text("job", job), lease))
            status, error = await self._superuser.fetchrow(
                "SELECT status, last_error FROM app.outbox WHERE id = $1", job
            )
            assert status == "done", error
        return list(self.mailer.sent)

    async def token(self, address: str) -> str:
        """The token of the only letter."""
        (mail,) = await self.open(address)
        return mail.context["token"]

    async def sign_up(self, world: World, address: str, password: str = PASSWORD, name: str = "Ada") -> dict[str, str]:
        """A verified account; the answer to its verification."""
        client = world.client()
        asked = await client.post("/v1/auth/sign-up", json={"name": name, "email": address, "password": password})
        assert asked.status_code == 202, asked.text
        done = await client.post(
            "/v1/auth/verification", json={"token": await self.token(address), "password": password}
        )
        assert done.status_code == 200, done.text
        return done.json()


class _Mailer(Mailer):
    """Writes letters and keeps them."""

    def __init__(self) -> None:
        relay = Relay(host="127.0.0.1", port=1, tls="none")
        super().__init__(relay, sender="no-reply@insula.test", sender_name="Insula", base_url="http://insula.test")
        self.sent: list[Mail] = []
        self.written: list[EmailMessage] = []

    async def send(self, mail: Mail) -> None:
        self.written.append(self.render(mail))
        self.sent.append(mail)


async def test_the_verification_letter_carries_a_link_that_only_the_mailbox_sees(
    world: World, litestar: Litestar
) -> None:
    mailbox = Mailbox(world, litestar)
    address = "Letters.One@Example.com"
    await world.client().post("/v1/auth/sign-up", json={"name": "Buy now!", "email": address, "password": PASSWORD})
    queued = await world.superuser.fetchval(
        "SELECT string_agg(payload::text, '') FROM app.outbox WHERE task = 'identity.send_verification'"
    )
    (mail,) = await mailbox.open(address)
    assert mail.to == address
    assert mail.template == "identity/verify_email"
    assert mail.context["token"] not in queued
    text = mailbox.mailer.written[-1].as_string()
    assert "http://insula.test/verify-email#token=" in text.replace("=\n", "").replace("=3D", "=")
    assert "Buy now!" not in text  # a stranger's name for somebody is not ours to say


async def test_a_link_is_worth_nothing_before_its_letter_is_written(world: World, litestar: Litestar) -> None:
    person = await world.person()
    await world.client().post("/v1/auth/reset-mail", json={"email": person.email})
    credential = await world.superuser.fetchval(
        "SELECT payload ->> 'credential_id' FROM app.outbox WHERE user_id = $1", to_uuid("usr", person.id)
    )
    token = litestar.state.keyring.mailed("reset", credential, to=f"{person.id} {person.email}")
    body = {"token": token, "password": NEW_PASSWORD}
    assert (await world.client().post("/v1/auth/reset", json=body)).status_code == 400
    assert await Mailbox(world, litestar).token(person.email) == token
    assert (await world.client().post("/v1/auth/reset", json=body)).status_code == 204


async def test_a_letter_whose_purpose_is_gone_is_not_sent(world: World, litestar: Litestar) -> None:
    mailbox = Mailbox(world, litestar)
    person = await world.person()
    for _ in range(2):
        await world.client().post("/v1/auth/reset-mail", json={"email": person.email})
    await world.superuser.execute(
        "UPDATE app.credential SET revoked_at = now() WHERE user_id ="
        " (SELECT id FROM app.\"user\" WHERE email = $1) AND kind = 'reset'",
        person.email,
    )
    assert await mailbox.open(person.email) == []


async def test_a_letter_that_is_sent_twice_carries_the_same_link(world: World, litestar: Litestar) -> None:
    mailbox = Mailbox(world, litestar)
    person = await world.person()
    await world.client().post("/v1/auth/reset-mail", json={"email": person.email})
    first = await mailbox.open(person.email)
    await world.superuser.execute(
        "UPDATE app.outbox SET status = 'due', started_at = NULL WHERE task = 'identity.send_reset'"
    )
    assert await mailbox.open(person.email) == first


async def test_the_owner_hears_of_a_new_password(world: World, litestar: Litestar) -> None:
    mailbox = Mailbox(world, litestar)
    person = await world.person()
    await world.client().post("/v1/auth/reset-mail", json={"email": person.email})
    token = await mailbox.token(person.email)
    await world.client().post("/v1/auth/reset", json={"token": token, "password": NEW_PASSWORD})
    (mail,) = await mailbox.open(person.email)
    assert mail.template == "identity/password_changed"
    assert mail.context["changed_at"].endswith("UTC")


async def test_a_reset_may_set_the_password_in_use_and_the_description_says_why_a_change_may_not(
    world: World, litestar: Litestar
) -> None:
    mailbox = Mailbox(world, litestar)
    person = await world.person()
    for _ in range(2):
        await world.client().post("/v1/auth/reset-mail", json={"email": person.email})
        body = {"token": await mailbox.token(person.email), "password": NEW_PASSWORD}
        assert (await world.client().post("/v1/auth/reset", json=body)).status_code == 204
        await mailbox.open(person.email)
    operations = (await world.client().get("/openapi.json")).json()["paths"]
    assert "may be the one in use" in operations["/v1/auth/reset"]["post"]["description"]
    assert "another than the current one" in operations["/v1/me/password"]["put"]["description"]
