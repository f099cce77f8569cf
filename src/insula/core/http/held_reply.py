"""An answer's first bytes wait until its transaction has settled: a failed commit is a failed request."""

from typing import Any

from litestar.types import Message, Send
from litestar.utils.scope.state import ScopeState

from insula.core.db import Transaction
from insula.core.http.problems import RERUN


class HeldReply:
    """What a handler sends, held back until the commit.

    ``rerun`` is set instead of answering where the handler may run once more: after a collision and, with
    ``forgiving``, after any failure of ours.
    """

    def __init__(
        self, scope: Any, transaction: Transaction, send: Send, *, may_rerun: bool, forgiving: bool = False
    ) -> None:
        self._scope, self._transaction, self._send = scope, transaction, send
        self._may_rerun, self._forgiving = may_rerun, forgiving
        self._start: Any = None
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
            await self._send(start)
        if not self.rerun:
            await self._send(message)

    async def _settle(self, start: Any, first: Any) -> None:
        if self._settling:  # the answer to a commit that failed
            self.rerun = self._runs_again(start["status"])
            return
        self._settling = True
        if start["status"] >= 400:
            self.rerun = self._runs_again(start["status"])
            if not self._transaction.keeps_refusal:
                await self._transaction.abandon()  # or who asks again at once meets the locks of before
                return
        elif (remember := self._scope.get("insula_remember")) is not None:
            remember(self._transaction, start, first)
        await self._transaction.commit()

    def _runs_again(self, status: int) -> bool:
        return self._may_rerun and (bool(self._scope[RERUN]) or (self._forgiving and status >= 500))
