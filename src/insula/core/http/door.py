"""A request is one transaction: entered through the door, settled before its first byte is sent."""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

import msgspec
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState
from structlog.contextvars import bind_contextvars

from insula.core import errors
from insula.core.db import Database, Transaction
from insula.core.http.authentication import Presented, presented
from insula.core.http.problems import RERUN
from insula.core.ids import to_text, to_uuid
from insula.core.metrics import AUTH
from insula.core.permissions import Facts, Permissions, Principal

DB: Final = "insula_db"
PRESENTED: Final = "insula_presented"
ORGANIZATION: Final = "organization_id"
_SAFE: Final = frozenset({"GET", "HEAD"})

_ENTER: Final = "SELECT * FROM app.enter($1, $2)"
_ENTER_PLATFORM: Final = "SELECT * FROM app.enter_platform($1)"


class Admission(Protocol):
    """What happens between the door and the handler: rate limits, and the count of refused credentials."""

    async def refused(self, scope: HTTPScope) -> None: ...

    async def admitted(self, scope: HTTPScope, principal: Principal) -> None: ...

    def settled(self, transaction: Transaction) -> None: ...


Guard: TypeAlias = Callable[[HTTPScope], None]
"""Raises PermissionMissing for who came in by the door but may not do this."""


class Doors(msgspec.Struct, frozen=True):
    """What the door needs to know of the program."""

    database: Database
    platform: Database
    permissions: Permissions
    pepper: bytes
    origin: str
    limits: dict[str, int]
    """What an organization may have where its own row says nothing."""
    admission: Admission


class RequestTransaction(ASGIMiddleware):
    """Opens the request's transaction, calls door and guard, runs the handler, commits, and only then answers.

    A serialization failure runs the handler once more, from the door: handlers hold no state.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, doors: Doors, guard: Guard) -> None:
        self._doors, self._guard = doors, guard

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        assert scope["type"] == ScopeType.HTTP
        options = scope["route_handler"].opt
        if "public" in options or scope["method"] == "OPTIONS":
            await next_app(scope, receive, send)
            return
        shown = presented(scope, self._doors.origin)
        replay = _Replay(receive)
        for last in (False, True):
            again: Any = {**scope, "state": dict(scope["state"]), RERUN: None}
            database = self._doors.platform if "operator" in options else self._doors.database
            async with database.transaction(read_only=scope["method"] in _SAFE) as transaction:
                transaction.facts = facts_of(scope)
                reply = _HeldReply(again, transaction, send, may_rerun=not last)
                await self._enter(again, transaction, shown, deleted="deleted_organization" in options)
                try:
                    self._guard(again)
                except errors.PermissionMissing:
                    await transaction.commit()  # what the guard wrote down about it
                    raise
                await next_app(again, replay, reply)
                transaction.spoilt = again[RERUN] == errors.STATEMENT_GONE
            if not reply.rerun:
                self._doors.admission.settled(transaction)
                return
            replay.rewind()

    async def _enter(self, scope: Any, transaction: Transaction, shown: Presented, *, deleted: bool) -> None:
        doors = self._doors
        if "operator" in scope["route_handler"].opt:
            found = await transaction.driver.fetchrow(_ENTER_PLATFORM, shown.digest(doors.pepper))
        else:
            organization = _organization(scope)
            found = await transaction.driver.fetchrow(_ENTER, shown.digest(doors.pepper), organization)
        assert found is not None
        if found["user_id"] is not None:  # also of those refused below: whose path it was not is worth a line
            bind_contextvars(user=to_text("usr", found["user_id"]))
        verdict = found["verdict"]
        if verdict == "organization_deleted" and deleted:
            verdict = "admitted"
        if verdict != "admitted":
            AUTH.labels("session", verdict).inc()
            if verdict == "unauthenticated":
                await doors.admission.refused(scope)
            raise _refusal(verdict)
        principal = _principal(found, scope, doors)
        transaction.principal = principal
        scope["user"], scope[DB], scope[PRESENTED] = principal, transaction, shown
        bind_contextvars(tenant=principal.organization_id)
        AUTH.labels(principal.credential_kind, "admitted").inc()
        await doors.admission.admitted(scope, principal)


def _organization(scope: Any) -> UUID | None:
    text = scope["path_params"].get(ORGANIZATION)
    return None if text is None else to_uuid("org", text)


def _refusal(verdict: str) -> errors.DomainError:
    if verdict == "unauthenticated":
        return errors.Unauthenticated(private="unknown, expired or revoked credential")
    if verdict == "member_suspended":
        return errors.Forbidden("Your membership of this organization is suspended.", private=verdict)
    if verdict == "organization_suspended":
        return errors.Forbidden("This organization is suspended.", private=verdict)
    return errors.NotFound(private=verdict)


def _principal(found: Any, scope: Any, doors: Doors) -> Principal:
    role = found.get("role") or ""
    granted = doors.permissions.of(role)
    scoped = found.get("scope")
    membership = found.get("membership_id")
    limits = found.get("limits")
    return Principal(
        user_id=to_text("usr", found["user_id"]),
        credential_id=to_text("crd", found["credential_id"]),
        credential_kind=found["credential_kind"],
        organization_id=scope["path_params"].get(ORGANIZATION),
        membership_id=to_text("mem", membership) if membership else None,
        role=role,
        permissions=granted if scoped is None else granted & frozenset(scoped),
        limits=doors.limits | msgspec.json.decode(limits) if limits else doors.limits,
    )


def facts_of(scope: Any) -> Facts:
    """Where a request came from, as the outer middleware found out."""
    state = scope["state"]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    return Facts(
        request_id=state.get("request_id", ""),
        ip=state.get("client_address"),
        user_agent=agent.decode("latin-1")[:400] or None,
        trace_id=state.get("trace_id"),
    )


class _Replay:
    """Lets a second run of the handler read the body again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Any] = []
        self._position = 0

    async def __call__(self) -> Any:
        if self._position < len(self._messages):
            message = self._messages[self._position]
        else:
            message = await self._receive()
            self._messages.append(message)
        self._position += 1
        return message

    def rewind(self) -> None:
        self._position = 0


class _HeldReply:
    """Holds the response's first bytes until the transaction has settled: a failed commit is a failed request."""

    def __init__(self, scope: Any, transaction: Transaction, send: Send, *, may_rerun: bool) -> None:
        self._scope, self._transaction, self._send = scope, transaction, send
        self._may_rerun = may_rerun
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
            self.rerun = self._may_rerun and bool(self._scope[RERUN])
            return
        self._settling = True
        if start["status"] >= 400:
            self.rerun = self._may_rerun and bool(self._scope[RERUN])
            if not self._transaction.keeps_refusal:
                return
        elif (remember := self._scope.get("insula_remember")) is not None:
            await remember(self._transaction, start, first)
        await self._transaction.commit()
