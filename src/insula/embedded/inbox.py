"""The inbox of `insula up`: takes every letter this machine sends and shows it in a browser."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from weakref import WeakSet

import h11
from aiosmtpd.smtp import SMTP, Envelope, Session

from insula.embedded.inbox_pages import answer
from insula.embedded.letters import Letters

LOOPBACK = "127.0.0.1"
LARGEST_LETTER = 5_000_000  # bytes
TIME_TO_ASK = 10  # seconds
NO_MAILBOX = "no such mailbox"
NOBODY = "@undeliverable.example"
"""Letters to such addresses are refused for good, as a mail server refuses an unknown recipient."""


class Inbox:
    """Development's post office: an SMTP server that delivers nothing, and a page that shows everything.

    Both listen on this machine alone. The ports are wishes: a free one takes the place of 0 and of a taken one.
    """

    def __init__(self, folder: Path, smtp_port: int = 0, http_port: int = 0) -> None:
        self.letters = Letters(folder)
        self.smtp_port = smtp_port
        self.http_port = http_port
        self._servers: list[asyncio.Server] = []
        self._senders: WeakSet[SMTP] = WeakSet()
        self._visits: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}"

    async def start(self) -> None:
        # aiosmtpd tells of every command, at a level that is for the product's own news.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        create_server = asyncio.get_running_loop().create_server
        self.smtp_port = await self._listen(partial(create_server, self._sender), self.smtp_port)
        self.http_port = await self._listen(partial(asyncio.start_server, self._visit), self.http_port)

    async def stop(self) -> None:
        while self._servers:
            self._servers.pop().close()
        # Closing a server leaves its connections open, and a browser keeps some in reserve.
        for sender in self._senders:
            if sender.transport:
                sender.transport.close()
        for writer in self._visits.values():
            writer.close()
        if self._visits:
            await asyncio.wait(self._visits)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd names it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take letters for anybody but nobody; aiosmtpd calls this by its name."""
        if address.casefold().endswith(NOBODY):
            return f"550 {NO_MAILBOX}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd names it
        """Keep a letter that is complete; aiosmtpd calls this by its name."""
        assert isinstance(envelope.content, bytes)
        self.letters.add(envelope.content, envelope.rcpt_tos)
        return "250 OK"

    async def _listen(self, listen: Callable[[str, int], Awaitable[asyncio.Server]], wanted: int) -> int:
        """Returns the port: to ask first whether one is free would leave time for somebody else to take it."""
        try:
            server = await listen(LOOPBACK, wanted)
        except OSError:
            server = await listen(LOOPBACK, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _sender(self) -> SMTP:
        # Without a name given, aiosmtpd would ask DNS for one and block the loop.
        sender = SMTP(
            self,
            hostname="localhost",
            enable_SMTPUTF8=True,
            data_size_limit=LARGEST_LETTER,
            loop=asyncio.get_running_loop(),
        )
        self._senders.add(sender)
        return sender

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, and the connection ends: nothing here needs to be fast."""
        visit = asyncio.current_task()
        assert visit
        self._visits[visit] = writer
        visit.add_done_callback(self._visits.pop)
        try:
            async with asyncio.timeout(TIME_TO_ASK):
                await self._converse(reader, writer)
        except (h11.RemoteProtocolError, TimeoutError, ConnectionError):
            pass  # no request, too slow, or gone: nobody to answer
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(65_536))
        if isinstance(event, h11.Request):
            for part in answer(event, self.letters, self.http_port).events(head=event.method == b"HEAD"):
                writer.write(connection.send(part) or b"")
            await writer.drain()
