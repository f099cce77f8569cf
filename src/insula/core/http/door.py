"""A request is one transaction: entered through the door, settled before its first byte is sent."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

import msgspec
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from insula.core import errors, metrics
from insula.core.db import Database, Transaction
from insula.core.http.authentication import Presented, carries_credential, presented
from insula.core.http.bodies import Incoming
from insula.core.http.entrance import Entrance, facts_of
from insula.core.http.held_reply import HeldReply, Rerun
from insula.core.http.idempotency import ASKED, Asked, asked
from insula.core.http.kept_out import REASONS, record_kept_out
from insula.core.http.once_more import asking_again
from insula.core.http.problems import RERUN
from insula.core.http.room import Room, owners
from insula.core.ids import to_text, to_uuid
from insula.core.keyring import Keyring
from insula.core.permissions import Permissions, Principal
from insula.core.replica import NotThere, Replica
from insula.core.shares import Shares

DB: Final = "insula_db"
PRESENTED: Final = "insula_presented"
ORGANIZATION: Final = "organization_id"
STALE_OK: Final = "stale_ok"
"""Handler option of reads that may be five seconds old: they are asked of a replica, where there is one."""
_SAFE: Final = frozenset({"GET", "HEAD"})
_LITTLE: Final = 16_384
"""Bytes of a body that anybody may send: more is taken from those whom the door knows, and none of public routes."""


class Admission(Protocol):
    """What happens between the door and the handler: rate limits, and the count of refused credentials."""

    def known(self, scope: HTTPScope, shown: Presented) -> None: ...

    async def refused(self, scope: HTTPScope) -> None: ...

    async def turned_away(self, scope: HTTPScope, user_id: str, shown: Presented) -> None: ...

    async def admitted(self, scope: HTTPScope, principal: Principal, shown: Presented) -> None: ...

    def settled(self, transaction: Transaction) -> None: ...


Guard: TypeAlias = Callable[[HTTPScope], None]
"""Raises PermissionMissing for who came in by the door but may not do this."""


class Doors(msgspec.Struct, frozen=True):
    """What the door needs to know of the program."""

    database: Database
    platform: Database
    replica: Replica | None
    permissions: Permissions
    keyring: Keyring
    origin: str
    limits: dict[str, int]
    """What an organization may have where its own row says nothing."""
    admission: Admission
    body_limit: int
    """Bytes; what is longer is refused."""


class RequestTransaction(ASGIMiddleware):
    """Opens the request's transaction, calls door and guard, runs the handler, commits, and only then answers.

    A serialization failure runs the handler once more, from the door: handlers hold no state.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, doors: Doors, guard: Guard) -> None:
        self._doors, self._guard = doors, guard
        self._shares = Shares(max(1, doors.database.size // 2))
        self._room = Room("bodies", doors.body_limit)
        self._unread = Room("answers", doors.body_limit)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        assert scope["type"] == ScopeType.HTTP
        options = scope["route_handler"].opt
        if scope["method"] == "OPTIONS":
            await next_app(scope, receive, send)
            return
        body = Incoming(scope, receive, self._doors.body_limit)
        if "public" in options:
            if scope["method"] not in _SAFE:
                await _receive_from_stranger(body)
            await next_app(scope, body, send)
            return
        try:
            shown = presented(scope, self._doors.origin)
        except (errors.Unauthenticated, errors.Forbidden):
            if carries_credential(scope):  # who shows none at all is counted already
                await self._doors.admission.refused(scope)
            raise
        self._doors.admission.known(scope, shown)
        with ExitStack() as held, ExitStack() as unread:
            if scope["method"] not in _SAFE:
                await self._receive(body, scope, shown, held)
            await self._answer(_Request(scope, body, shown, send, next_app, unread))

    async def _answer(self, request: "_Request") -> None:
        """Run it; after a collision once more, and on the primary where a replica could not answer."""
        replica = self._doors.replica if STALE_OK in request.scope["route_handler"].opt else None
        if replica is not None and replica.usable and await self._settled(request, Rerun.FAILURE, replica):
            return
        for may in (Rerun.COLLISION, Rerun.NOTHING):
            request.body.rewind()
            if await self._settled(request, may):
                return

    async def _settled(self, request: "_Request", may: Rerun, replica: Replica | None = None) -> bool:
        """One run from the door to the answer; False when another is wanted, and nothing was sent."""
        once = asked(request.scope, request.shown.token, request.body)
        again: Any = {**request.scope, RERUN: None, ASKED: once}
        async with self._shares.of(_owner(again, request.shown)):
            reply = await self._replied(request, may, again, replica)
        # Neither place nor connection is kept for whoever reads slowly.
        if reply is None or reply.rerun:
            request.unread.close()
            return False
        await reply.deliver()
        return True

    async def _replied(self, request: "_Request", may: Rerun, again: Any, replica: Replica | None) -> HeldReply | None:
        """What the handler answered, committed; None when the replica could not be asked."""
        async with self._transaction(again) as transaction:
            grant = await self._admit(again, transaction, request.shown, replica)
            if replica is None or grant is None:
                return await self._run(request, may, again, transaction)
            await transaction.commit()
        # The primary's connection is for others now.
        return await self._read(request, again, transaction, replica.entered(grant))

    async def _admit(
        self, scope: Any, transaction: Transaction, shown: Presented, replica: Replica | None
    ) -> bytes | None:
        """Past door and guard; returns the grant for the replica, if there is one."""
        grant = await self._enter(scope, transaction, shown, replica)
        try:
            self._guard(scope)
        except errors.PermissionMissing:
            await transaction.commit()  # what the guard wrote down about it
            raise
        return grant

    async def _read(
        self, request: "_Request", again: Any, entered: Transaction, there: AbstractAsyncContextManager[Transaction]
    ) -> HeldReply | None:
        try:
            async with there as reading:
                reading.principal, reading.facts = entered.principal, entered.facts
                again[DB] = reading
                return await self._run(request, Rerun.FAILURE, again, reading)
        except NotThere:
            return None

    async def _run(self, request: "_Request", may: Rerun, again: Any, transaction: Transaction) -> HeldReply:
        assert transaction.principal is not None
        take = self._unread.until(request.unread, owners(transaction.principal, request.shown.token))
        reply = HeldReply(again, transaction, request.send, may, take)
        await request.next_app(again, request.body, reply)
        transaction.spoilt = again[RERUN] == errors.STATEMENT_GONE
        if not reply.rerun:
            self._doors.admission.settled(transaction)
        return reply

    def _transaction(self, scope: HTTPScope) -> AbstractAsyncContextManager[Transaction]:
        doors = self._doors
        database = doors.platform if "operator" in scope["route_handler"].opt else doors.database
        return database.transaction(read_only=scope["method"] in _SAFE)

    async def _receive(self, body: Incoming, scope: HTTPScope, shown: Presented, held: ExitStack) -> None:
        """Read it before the transaction: whoever sends slowly holds no connection.

        Beyond a little, only from those the door knows, and only so much: anybody could fill our memory with
        unfinished bodies. ``held`` gives the room back.
        """
        if await body.receive(_LITTLE):
            return
        async with self._shares.of(_owner(scope, shown)), self._transaction(scope) as transaction:
            await self._enter({**scope}, transaction, shown)
            assert transaction.principal is not None
            known = owners(transaction.principal, shown.token)
        await body.receive(self._doors.body_limit, held.enter_context(self._room.of(known)))

    async def _enter(
        self, scope: Any, transaction: Transaction, shown: Presented, replica: Replica | None = None
    ) -> bytes | None:
        """Go through the door, or be refused; returns the grant for the replica, if there is one."""
        doors, options = self._doors, scope["route_handler"].opt
        transaction.facts, transaction.operation = facts_of(scope), str(scope["route_handler"].handler_name)
        entrance = Entrance(doors.keyring.digest(shown.token), _organization(scope), "operator" in options)
        found = await _found(scope, transaction, entrance, replica)
        if found["user_id"] is not None:  # also of those refused below: whose path it was not is worth a line
            bind_contextvars(user=to_text("usr", found["user_id"]))
        verdict = found["verdict"]
        if verdict == "organization_deleted" and "deleted_organization" in options:
            verdict = "admitted"
        if verdict != "admitted":
            metrics.shown("session", verdict).inc()
            if verdict == "unauthenticated":
                await doors.admission.refused(scope)
            else:
                await doors.admission.turned_away(scope, to_text("usr", found["user_id"]), shown)
            if verdict in REASONS:
                await record_kept_out(
                    transaction, entrance.secret, entrance.organization, found, scope["route_handler"]
                )
            raise _refusal(verdict)
        principal = _principal(found, scope, doors)
        transaction.principal = principal
        if scope["method"] not in _SAFE:
            transaction.ask_again = asking_again(transaction, entrance, found)
        scope["user"], scope[DB], scope[PRESENTED] = principal, transaction, shown
        bind_contextvars(tenant=principal.organization_id)
        metrics.shown(principal.credential_kind, "admitted").inc()
        await doors.admission.admitted(scope, principal, shown)
        return None if replica is None else found["grant"]


class _Request(msgspec.Struct, frozen=True):
    """One request, as long as it takes."""

    scope: HTTPScope
    body: Incoming
    shown: Presented
    send: Send
    next_app: ASGIApp
    unread: ExitStack
    """Gives the room of its answer back."""


async def _found(scope: Any, transaction: Transaction, entrance: Entrance, replica: Replica | None) -> Any:
    """What the door says of a request, and of its Idempotency-Key."""
    once: Asked | None = scope.get(ASKED)
    if once is not None:
        statement, binds = entrance.once(once.name)
        once.entrance, once.found = entrance, await transaction.driver.fetchrow(statement, *binds)
        return once.found
    statement, binds = entrance.door() if replica is None else entrance.for_replica()
    return await transaction.driver.fetchrow(statement, *binds)


async def _receive_from_stranger(body: Incoming) -> None:
    await body.receive(_LITTLE)
    if body.length > _LITTLE:
        raise errors.TooLarge(f"At most {_LITTLE} bytes are read here.")


def _owner(scope: HTTPScope, shown: Presented) -> str:
    """Whose share a request takes of: the organization it names, although the door has not spoken yet. A stranger
    holds its place only until then. Outside of organizations everybody has their own.
    """
    return scope["path_params"].get(ORGANIZATION) or shown.token


def _organization(scope: Any) -> UUID | None:
    text = scope["path_params"].get(ORGANIZATION)
    return None if text is None else to_uuid("org", text)


def _refusal(verdict: str) -> errors.DomainError:
    if verdict == "unauthenticated":
        return errors.Unauthenticated(private="unknown, expired or revoked credential")
    if verdict == "member_suspended":
        return errors.MembershipSuspended(private=verdict)
    if verdict == "organization_suspended":
        return errors.OrganizationSuspended(private=verdict)
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
