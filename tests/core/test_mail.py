"""Letters: how they are written, and what a relay's answers mean."""

import asyncio
import datetime as dt
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from insula.core import clock
from insula.core.mail import PACKAGE, Mail, Mailer, MailRefused, MailUnavailable, Relay

TOKEN = "ins_test_0123456789"
BASE_URL = "https://app.example.com"

# Every template, and exactly the variables that it takes.
LETTERS: dict[str, dict[str, str]] = {
    "identity/verify_email": {"token": TOKEN, "expires_in": "24 hours"},
    "identity/sign_up_attempt": {},
    "identity/reset_password": {"token": TOKEN, "expires_in": "30 minutes"},
    "identity/password_changed": {"changed_at": "3 March 2026, 14:05 UTC"},
    "invitations/invitation": {
        "token": TOKEN,
        "organization_name": "Acme",
        "inviter_name": "Grace Hopper",
        "role_name": "Member",
        "open_until": "10 March 2026, 09:30 UTC",
    },
}


class Postbox:
    """A relay in this process that keeps what it takes, or answers as it is told."""

    def __init__(self, **answers: str) -> None:
        self.answers = {"RCPT": "250 OK", "DATA": "250 OK", **answers}
        self.letters: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.port = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        envelope.rcpt_tos.append(address)
        return self.answers["RCPT"]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers["DATA"] == "250 OK":
            self.letters.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients += envelope.rcpt_tos
        return self.answers["DATA"]


@asynccontextmanager
async def opened(postbox: Postbox, **options: Any) -> AsyncIterator[Postbox]:
    tls = options.pop("tls", None)

    def protocol() -> SMTP:
        return SMTP(postbox, hostname="localhost", loop=loop, **options)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls)
    postbox.port = server.sockets[0].getsockname()[1]
    try:
        yield postbox
    finally:
        server.close()


def mailer(port: int = 1, base_url: str = BASE_URL, **changes: Any) -> Mailer:
    relay = Relay(**{"host": "127.0.0.1", "port": port, "tls": "none", "timeout": 2.0, **changes})
    return Mailer(relay, sender="hello@insula.example", sender_name="Insula", base_url=base_url)


def invitation(**changes: Any) -> Mail:
    mail = Mail(
        to="ada@example.org",
        to_name="Ada Lovelace",
        template="invitations/invitation",
        message_id="out_01jabc",
        context=LETTERS["invitations/invitation"],
    )
    return msgspec.structs.replace(mail, **changes)


def bodies(letter: EmailMessage) -> tuple[str, str]:
    text, html = letter.get_body(("plain",)), letter.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


async def test_a_letter_arrives_as_it_was_written() -> None:
    async with opened(Postbox()) as postbox:
        await mailer(postbox.port, username="", password="").send(invitation())
    (letter,) = postbox.letters
    assert postbox.recipients == ["ada@example.org"]
    assert letter["From"] == "Insula <hello@insula.example>"
    assert letter["To"] == "Ada Lovelace <ada@example.org>"
    assert letter["Subject"] == "Grace Hopper invites you to Acme"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Message-ID"] == "<out_01jabc@insula.example>"
    assert abs(parsedate_to_datetime(letter["Date"]) - clock.now()) < dt.timedelta(minutes=1)
    assert letter.get_content_type() == "multipart/alternative"
    for body in bodies(letter):
        assert f"{BASE_URL}/accept-invitation#token={TOKEN}" in body


def test_the_list_of_letters_is_complete() -> None:
    files = (PACKAGE / "features").glob("*/mail/*.j2")
    found = {f"{file.parts[-3]}/{file.name.split('.')[0]}" for file in files}
    assert found == set(LETTERS)


@pytest.mark.parametrize("template", LETTERS)
def test_each_letter_needs_exactly_the_listed_variables(template: str) -> None:
    context = LETTERS[template]
    letter = mailer().render(invitation(template=template, context=context))
    assert letter["Subject"]
    for body in bodies(letter):
        assert "Insula" in body
    for variable in context:
        less = {name: value for name, value in context.items() if name != variable}
        with pytest.raises(jinja2.UndefinedError):
            mailer().render(invitation(template=template, context=less))


@pytest.mark.attack(121)
@pytest.mark.parametrize("template", LETTERS)
def test_every_link_starts_with_the_configured_address(template: str) -> None:
    elsewhere = mailer(base_url="https://app.example.com/insula/")
    for body in bodies(elsewhere.render(invitation(template=template, context=LETTERS[template]))):
        links = re.findall(r"https?:[^\s\"<]+", body)
        assert links
        assert all(re.match(r"https://app\.example\.com/insula/(?!/)", link) for link in links)


def test_a_token_cannot_leave_the_fragment() -> None:
    context = {**LETTERS["invitations/invitation"], "token": "a&b=c d#e"}
    text, _ = bodies(mailer().render(invitation(context=context)))
    assert "/accept-invitation#token=a%26b%3Dc%20d%23e\n" in text


@pytest.mark.attack(122)
@pytest.mark.parametrize("character", list("\r\n\x00\x0b\x1b\x7f\x85\u2028\u2029\ud800"))
@pytest.mark.parametrize("place", ["to", "to_name", "message_id", "organization_name"])
def test_line_breaks_and_control_characters_are_refused(place: str, character: str) -> None:
    poison = f"Acme{character}Bcc: everyone@example.org"
    changes: dict[str, Any] = {place: poison}
    if place == "organization_name":
        changes = {"context": {**LETTERS["invitations/invitation"], place: poison}}
    with pytest.raises(MailRefused):
        mailer().render(invitation(**changes))


@pytest.mark.parametrize(
    "address",
    ["", "ada", "a@", "@b", "a@b@c", "a b@c", '"a b"@c', "<a@b>", "a@b, c@d", "a@b>", "a@b(c)", "a@[::1]"],
)
def test_what_is_not_one_plain_address_is_refused(address: str) -> None:
    with pytest.raises(MailRefused, match="not an e-mail address"):
        mailer().render(invitation(to=address))


def test_a_malicious_name_is_text_in_html() -> None:
    name = '<img src=x onerror=alert(1)> & "Söhne"'
    context = {**LETTERS["invitations/invitation"], "organization_name": name}
    letter = mailer().render(invitation(context=context))
    text, html = bodies(letter)
    assert letter["Subject"] == f"Grace Hopper invites you to {name}"
    assert name in text
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; &#34;Söhne&#34;" in html


async def test_names_in_any_script_survive_the_journey() -> None:
    name = 'Zoë "渡辺", Łódź 🏛'
    async with opened(Postbox(), enable_SMTPUTF8=True) as postbox:
        await mailer(postbox.port).send(invitation(to_name=name))
        await mailer(postbox.port).send(invitation(to="zoë@bücher.example", to_name="Zoë"))
    (encoded,) = postbox.letters[0]["To"].addresses
    assert (encoded.display_name, encoded.addr_spec) == (name, "ada@example.org")
    assert postbox.recipients == ["ada@example.org", "zoë@bücher.example"]
    assert str(postbox.letters[1]["To"]) == "Zoë <zoë@bücher.example>"


async def test_a_retried_letter_keeps_its_message_id() -> None:
    async with opened(Postbox()) as postbox:
        await mailer(postbox.port).send(invitation())
        await mailer(postbox.port).send(invitation())
        await mailer(postbox.port).send(invitation(message_id="out_01jxyz"))
    ids = [letter["Message-ID"] for letter in postbox.letters]
    assert ids == ["<out_01jabc@insula.example>"] * 2 + ["<out_01jxyz@insula.example>"]


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
@pytest.mark.parametrize(("answer", "error"), [("554 never", MailRefused), ("451 later", MailUnavailable)])
async def test_a_5xx_answer_is_final_and_a_4xx_is_not(stage: str, answer: str, error: type[Exception]) -> None:
    async with opened(Postbox(**{stage: answer})) as postbox:
        with pytest.raises(error, match=f"^{answer}$"):
            await mailer(postbox.port).send(invitation())
    assert postbox.letters == []


async def test_an_address_the_relay_cannot_write_is_refused() -> None:
    async with opened(Postbox(), enable_SMTPUTF8=False) as postbox:
        with pytest.raises(MailRefused):
            await mailer(postbox.port).send(invitation(to="zoë@example.org"))


async def test_an_absent_relay_is_unavailable() -> None:
    async with opened(Postbox()) as postbox:
        port = postbox.port
    with pytest.raises(MailUnavailable):
        await mailer(port).send(invitation())


async def test_a_silent_relay_is_unavailable_after_the_timeout() -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    with pytest.raises(MailUnavailable):
        await mailer(server.sockets[0].getsockname()[1], timeout=0.1).send(invitation())
    server.close()


async def test_a_relay_without_starttls_gets_nothing_in_the_clear() -> None:
    async with opened(Postbox()) as postbox:
        with pytest.raises(MailUnavailable, match="STARTTLS"):
            await mailer(postbox.port, tls="starttls").send(invitation())
    assert postbox.letters == []


async def test_an_untrusted_certificate_gets_nothing(certificate: Path) -> None:
    async with opened(Postbox(), tls=server_context(certificate)) as postbox:
        with pytest.raises(MailUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await mailer(postbox.port, tls="tls").send(invitation())
    assert postbox.letters == []


@pytest.mark.parametrize("mode", ["starttls", "tls"])
async def test_letters_are_sent_encrypted_and_signed_in(
    mode: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def authenticate(_: Any, __: Any, ___: Any, ____: Any, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"insula", b"secret"), handled=False)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = server_context(certificate)
    # aiosmtpd does not know that implicit TLS is TLS, and would not offer to sign in.
    options = {"tls": context, "auth_require_tls": False} if mode == "tls" else {"tls_context": context}
    async with opened(Postbox(), authenticator=authenticate, **options) as postbox:
        with pytest.raises(MailUnavailable, match="535"):
            await mailer(postbox.port, tls=mode, username="insula", password="wrong").send(invitation())
        assert postbox.letters == []
        await mailer(postbox.port, tls=mode, username="insula", password="secret").send(invitation())
    assert len(postbox.letters) == 1
    assert "secret" not in repr(Relay(host="relay.example", port=587, password="secret"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=relay")
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(clock.now() - dt.timedelta(hours=1))
        .not_valid_after(clock.now() + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path_factory.mktemp("relay") / "relay.pem"
    path.write_bytes(signed.public_bytes(Encoding.PEM) + private)
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context
