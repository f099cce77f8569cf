"""Letters to people: written from templates, handed to an SMTP relay."""

import re
import unicodedata
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import aiosmtplib
import jinja2
import msgspec

from insula.core import clock

PACKAGE = Path(__file__).parent.parent

# Deliberately narrower than RFC 5321: no quoted local parts, comments or address literals, in which
# parsers disagree about who the recipient is.
_ADDRESS = re.compile(r"""([^\s@<>()\[\]\\,;:"]+)@([^\s@<>()\[\]\\,;:"]+)""")
# Control characters, lone surrogates, line and paragraph separators.
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_.-]+")


class MailRefused(Exception):
    """This letter will never be accepted, however often it is tried."""


class MailUnavailable(Exception):
    """The relay cannot take letters now: try again later."""


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One letter to one person.

    `template` is "feature/name", two files in that feature's `mail` folder: `name.txt.j2`, which also
    holds the subject, and `name.html.j2`. `context` gives the variables these use, each a single line.
    `message_id` is the outbox id: a letter delivered twice carries the same Message-ID, so that
    mailboxes can drop the second copy.
    """

    to: str
    template: str
    message_id: str
    context: dict[str, str] = {}
    to_name: str = ""


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """The SMTP server that delivers for us. `timeout` is in seconds, for each of its answers."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: Literal["none", "starttls", "tls"] = "starttls"
    timeout: float = 10.0

    def __repr__(self) -> str:
        return f"Relay({self.host}:{self.port}, tls={self.tls})"


class Mailer:
    """Writes the product's letters and hands them to its relay.

    Every link starts with the configured base URL, so no request's Host header can reach a letter.
    """

    def __init__(self, relay: Relay, *, sender: str, sender_name: str, base_url: str) -> None:
        self._relay = relay
        self._sender = _mailbox(sender, sender_name)
        self._base_url = base_url.rstrip("/")
        self._templates = jinja2.Environment(
            loader=jinja2.FunctionLoader(_read_template),
            autoescape=jinja2.select_autoescape(["html"], default=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(link=self._link, product_name=sender_name)

    async def send(self, mail: Mail) -> None:
        """Deliver to the relay, or raise MailRefused (give up) or MailUnavailable (try again)."""
        message = self.render(mail)
        relay = self._relay
        try:
            await aiosmtplib.send(
                message,
                sender=self._sender.addr_spec,
                recipients=[mail.to],
                hostname=relay.host,
                port=relay.port,
                username=relay.username or None,
                password=relay.password or None,
                use_tls=relay.tls == "tls",
                start_tls=relay.tls == "starttls",
                timeout=relay.timeout,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _verdict(error) from error

    def render(self, mail: Mail) -> EmailMessage:
        """The letter as it goes over the wire, as plain text and as HTML."""
        _refuse_control_characters({"to": mail.to, "to_name": mail.to_name, **mail.context})
        if not _MESSAGE_ID.fullmatch(mail.message_id):
            raise MailRefused(f"not an id: {mail.message_id!r}")
        text = self._templates.get_template(f"{mail.template}.txt")
        html = self._templates.get_template(f"{mail.template}.html")
        subject = "".join(text.blocks["subject"](text.new_context(mail.context))).strip()

        message = EmailMessage(policy=SMTP)
        message["Message-ID"] = f"<{mail.message_id}@{self._sender.domain}>"
        message["Date"] = clock.now()
        message["From"] = self._sender
        message["To"] = _mailbox(mail.to, mail.to_name)
        message["Subject"] = subject
        # RFC 3834: no out-of-office answers, please.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text.render(mail.context))
        message.add_alternative(html.render(mail.context, subject=subject), subtype="html")
        return message

    def _link(self, path: str, token: str = "") -> str:
        # Browsers keep the fragment to themselves: a token there reaches no server log, proxy or Referer.
        fragment = f"#token={quote(token, safe='')}" if token else ""
        return f"{self._base_url}{path}{fragment}"


def _read_template(name: str) -> str | None:
    feature, _, file = name.rpartition("/")
    folder = PACKAGE / "features" / feature / "mail" if feature else PACKAGE / "core" / "templates"
    path = folder / f"{file}.j2"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _refuse_control_characters(values: dict[str, str]) -> None:
    """A line break in a name could add a header, or lines of its own that look like ours."""
    for name, value in values.items():
        if any(unicodedata.category(character) in _CONTROL for character in value):
            raise MailRefused(f"{name} contains a line break or another control character")


def _mailbox(address: str, name: str) -> Address:
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise MailRefused(f"not an e-mail address: {address!r}")
    return Address(name, username=parts[1], domain=parts[2])


def _verdict(error: Exception) -> MailRefused | MailUnavailable:
    """Only an answer about this recipient or this letter is final.

    A failed sign-in or a refused sender is ours to repair, and the letter still deserves to arrive.
    """
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=[refusal]):
            return _final_from_500(refusal)
        case aiosmtplib.SMTPDataError():
            return _final_from_500(error)
        case aiosmtplib.SMTPNotSupported():  # this address needs SMTPUTF8
            return MailRefused(str(error))
        case _:
            return MailUnavailable(str(error))


def _final_from_500(answer: aiosmtplib.SMTPResponseException) -> MailRefused | MailUnavailable:
    return (MailRefused if answer.code >= 500 else MailUnavailable)(f"{answer.code} {answer.message}")
