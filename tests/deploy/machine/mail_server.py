"""The mail server in the machine: STARTTLS and a password, or nothing; each letter becomes a file."""

import asyncio
import os
import ssl
from itertools import count
from pathlib import Path
from typing import Final

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.deploy.machine.surroundings import MAIL

LETTERS: Final = Path(os.environ["LETTERS"])


class Keeper:
    """Keeps them in their order, in files named after their addressee."""

    def __init__(self) -> None:
        self._numbers = count(len(list(LETTERS.iterdir())))

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        assert session.ssl is not None
        assert session.authenticated
        assert isinstance(envelope.content, bytes)
        for address in envelope.rcpt_tos:
            file = LETTERS / f"{next(self._numbers):06}-{address}"
            part = file.with_name(f".{file.name}")
            part.write_bytes(envelope.content)
            part.rename(file)
        return "250 OK"


def check(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, said: LoginPassword) -> AuthResult:
    known = said.login == b"insula" and said.password == os.environ["PASSWORD"].encode()
    return AuthResult(success=known, handled=False)


async def main() -> None:
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(os.environ["CERTIFICATE"]) / f"{MAIL}.pem")
    keeper = Keeper()

    def session() -> SMTP:
        # Without a name given, aiosmtpd would ask DNS for one.
        guarded = {"require_starttls": True, "auth_required": True, "authenticator": check, "tls_context": context}
        return SMTP(keeper, hostname=MAIL, loop=loop, **guarded)

    server = await loop.create_server(session, "127.0.0.1", 587)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
