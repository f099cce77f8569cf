"""An answer's first bytes wait until its transaction has settled: a failed commit is a failed request."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from litestar.types import Message, Send
from litestar.utils.scope.state import ScopeState

from insula.core.db import Transaction
from insula.core.http.handover import PIECE
from insula.core.http.problems import RERUN


class Rerun(Enum):
    """After what a handler may run once more."""

    NOTHING = 0
    COLLISION = 1
    FAILURE = 2
    """Any of ours, and a collision."""


class HeldReply:
    """What a handler sends, held back until the commit, and until its connection serves others, if it comes whole.

    ``rerun`` is set instead of answering where the handler may run once more. ``take`` is told the bytes of a long
    answer before the commit: what it raises is answered instead.
    """

    def __init__(
        self, scope: Any, transaction: Transaction, send: Send, may: Rerun, take: Callable[[int], None]
    ) -> None:
        self._scope, self._transaction, self._send = scope, transaction, send
        self._may, self._take = may, take
        self._start: Any = None
        self._whole: tuple[Message, ...] = ()
        self._settling = False
        self.rerun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            state = ScopeState.from_scope(self._scope)
            state.response_started = False  # Litestar believes it has; so far nothing was sent
            await self._settle(start, message)
            if self.rerun:
                return
            state.response_started = True
            if not message.get("more_body"):
                self._whole = (start, message)
                return
            await self._send(start)
        if not self.rerun:
            await self._send(message)

    async def deliver(self) -> None:
        """Send what came whole: whoever reads slowly keeps no connection."""
        for message in self._whole:
            await self._send(message)

    async def _settle(self, start: Any, first: Any) -> None:
        if self._settling:  # the answer to a commit that failed
            self.rerun = self._runs_again(start["status"])
            return
        self._settling = True
        if (size := len(first.get("body", b""))) > PIECE:
            self._take(size)
        if start["status"] >= 400:
            self.rerun = self._runs_again(start["status"])
            if not self._transaction.keeps_refusal:
                await self._transaction.abandon()  # or who asks again at once meets the locks of before
                return
        elif (remember := self._scope.get("insula_remember")) is not None:
            remember(self._transaction, start, first)
        await self._transaction.commit()

    def _runs_again(self, status: int) -> bool:
        if self._may is Rerun.FAILURE and status >= 500:
            return True
        return self._may is not Rerun.NOTHING and bool(self._scope[RERUN])
