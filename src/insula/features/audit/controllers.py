"""The audit log, and a person's own record, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from litestar import Controller, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from insula.core import clock
from insula.core.db import Transaction
from insula.core.errors import InvalidRequest, NotFound, Wrong
from insula.core.events import record
from insula.core.ids import NIL, to_uuid
from insula.core.jobs import ID_PREFIX as JOB
from insula.core.listing import Page, PageRequest, first_id_of
from insula.core.permissions import STAFF, Permission, Principal
from insula.features.audit.catalogue import catalogue, types_of
from insula.features.audit.repository import ACCOUNT_EVENTS, EVENT, EVENTS
from insula.features.audit.schemas import (
    AccountEventRead,
    AccountEventType,
    AuditRead,
    EventId,
    EventRead,
    EventType,
    EventTypeList,
    Instant,
    ReferenceId,
)

READ = Permission("events:read", "See everything that happened in the organization.", STAFF)
PERMISSIONS = (READ,)
_REFERENCES: Final = frozenset({"actor_id", "target_id"})
_AHEAD: Final = timedelta(days=1)
"""By as much the clock of a machine that mints ids may be wrong."""
_OWN: Final = "everybody may see what happened to their own account"


class AuditController(Controller):
    """Everything that happened in an organization: who, what, to what, from where."""

    path = "/v1/organizations/{organization_id:str}"
    tags = ["Audit"]  # noqa: RUF012  # Litestar's declaration

    @get("/events", permission=READ, listing=EVENTS)
    async def list_events(  # noqa: PLR0913, PLR0917  # a parameter per filter
        self,
        db: NamedDependency[Transaction],
        principal: NamedDependency[Principal],
        state: State,
        page: NamedDependency[PageRequest],
        type: FromQuery[EventType | None] = None,  # noqa: A002  # the field's name
        actor_id: FromQuery[ReferenceId | None] = None,
        target_id: FromQuery[ReferenceId | None] = None,
        since: FromQuery[Instant | None] = None,
        until: FromQuery[Instant | None] = None,
    ) -> Page[EventRead]:
        """List events, the newest first; that somebody looked is an event as well, once in ten minutes."""
        _require_known(type, state, account=False)
        given = {
            "type": type,
            "actor_id": actor_id,
            "target_id": target_id,
            "since": since,
            "until": until,
        }
        found = await EVENTS.page(db, page, **given)
        # On every page: a cursor does not run out, and one kept from an earlier look would read on unseen.
        _looked(db, principal, {name: _told(name, value, state) for name, value in given.items() if value is not None})
        return found

    @get("/events/{event_id:str}", permission=READ)
    async def get_event(
        self,
        db: NamedDependency[Transaction],
        principal: NamedDependency[Principal],
        event_id: FromPath[EventId],
    ) -> EventRead:
        """Get an event; that somebody looked is one as well."""
        event = await EVENT.one_or_none(db, id=event_id)
        if event is None:
            raise NotFound
        _looked(db, principal, {"id": event.id})
        return event

    @get("/event-types", permission=READ)
    async def list_event_types(self, state: State) -> EventTypeList:
        """List the types of an organization's events, each with the JSON Schema of its data."""
        return catalogue(state.features, account=False)


class MyEventsController(Controller):
    """What happened to your account, outside of all organizations."""

    path = "/v1/me"
    tags = ["Me"]  # noqa: RUF012  # Litestar's declaration

    @get("/events", authenticated_only=_OWN, listing=ACCOUNT_EVENTS)
    async def list_my_events(  # noqa: PLR0913, PLR0917  # a parameter per filter
        self,
        db: NamedDependency[Transaction],
        state: State,
        page: NamedDependency[PageRequest],
        type: FromQuery[AccountEventType | None] = None,  # noqa: A002  # the field's name
        since: FromQuery[Instant | None] = None,
        until: FromQuery[Instant | None] = None,
    ) -> Page[AccountEventRead]:
        """List what happened to your account, the newest first: sign-ins, passwords, changes."""
        _require_known(type, state, account=True)
        return await ACCOUNT_EVENTS.page(db, page, type=type, since=since, until=until)

    @get("/event-types", authenticated_only=_OWN)
    async def list_my_event_types(self, state: State) -> EventTypeList:
        """List the types of what may happen to an account, each with the JSON Schema of its data."""
        return catalogue(state.features, account=True)


def _require_known(wanted: str | None, state: State, *, account: bool) -> None:
    if wanted is None:
        return
    known = {event.TYPE for _, event in types_of(state.features, account=account)}
    if wanted not in known:
        raise InvalidRequest.about("query/type", Wrong.NOT_OFFERED, f"one of {', '.join(sorted(known))}")


def _told(name: str, value: object, state: State) -> str:
    """What was looked for in place of an id may be somebody's name, which stays out of what cannot be erased.

    Letters that happen to make an id make one of a far future. Moments are written as the API writes them.
    """
    text = str(msgspec.to_builtins(value.astimezone(UTC)) if isinstance(value, datetime) else value)
    if name not in _REFERENCES:
        return text
    prefix, _, _ = text.partition("_")
    prefixes = {JOB, *(each for feature in state.features for each in feature.id_prefixes)}
    is_id = prefix in prefixes and NIL < to_uuid(prefix, text) < first_id_of(clock.now() + _AHEAD)
    return text if is_id else ""


def _looked(db: Transaction, principal: Principal, filters: dict[str, str]) -> None:
    record(db, AuditRead(target_id=str(principal.organization_id), filters=filters))


CONTROLLERS = (AuditController, MyEventsController)
