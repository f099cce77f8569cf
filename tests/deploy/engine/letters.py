"""A mail server on this machine: it takes letters over TLS only, from whoever signs in."""

import logging
import ssl
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.authority import Authority

HOST: Final = "mail.example.com"
USERNAME: Final = "insula"
PASSWORD: Final = "what the mail server's people gave"
_WAIT_SECONDS: Final = 30


class Letters:
    """STARTTLS and a login are demanded before the first letter."""

    def __init__(self, authority: Authority) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*authority.certificate(HOST))
        self._came: list[EmailMessage] = []

    def open(self) -> None:
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # it warns of what it does itself
        options: dict[str, Any] = {
            "tls_context": self._context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": self._authenticate,
        }
        Controller(self, hostname="0.0.0.0", port=587, server_hostname=HOST, **options).start()

    def to(self, address: str) -> str:
        """The text of the letter that came last, when it has come."""
        late = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < late:
            for letter in reversed(self._came):
                if letter["to"] == address:
                    body = letter.get_body(("plain",))
                    assert body is not None
                    return str(body.get_content())
            time.sleep(0.1)
        raise AssertionError(f"no letter to {address} came")

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self._came.append(letter)
        return "250 OK"

    @staticmethod
    def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        return AuthResult(success=(given.login, given.password) == (USERNAME.encode(), PASSWORD.encode()))
