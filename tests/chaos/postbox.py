"""Where letters arrive: what workers mailed, counted by the letter."""

import asyncio
from collections import Counter, defaultdict
from email import message_from_bytes

from aiosmtpd.smtp import SMTP, Envelope, Session


class Postbox:
    """A mail server that nobody kills: it stands for the world outside, which remembers what it was sent."""

    def __init__(self) -> None:
        self.letters: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Address -> Message-ID -> how often that letter came. A letter that came again is one letter to its reader."""
        self.port = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        # Without a name given, aiosmtpd would ask DNS for one.
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="localhost", loop=loop), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._server.close()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message_id = str(message_from_bytes(envelope.content)["message-id"])
        for address in envelope.rcpt_tos:
            self.letters[address][message_id] += 1
        return "250 OK"
