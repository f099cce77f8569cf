"""The audit log over HTTP."""

from litestar import Controller, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from insula.core.db import Transaction
from insula.core.errors import InvalidRequest, NotFound, Wrong
from insula.core.events import record
from insula.core.listing import Page, PageRequest
from insula.core.permissions import STAFF, Permission, Principal
from insula.features.audit.catalogue import catalogue
from insula.features.audit.repository import EVENT, EVENTS
from insula.features.audit.schemas import (
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
        if type is not None and all(type != known.TYPE for feature in state.features for known in feature.events):
            raise InvalidRequest.about("query/type", Wrong.NOT_OFFERED, "no type of event; see the list of them")
        given = {
            "type": type,
            "actor_id": actor_id,
            "target_id": target_id,
            "since": since,
            "until": until,
        }
        found = await EVENTS.page(db, page, **given)
        # On every page: a cursor does not run out, and one kept from an earlier look would read on unseen.
        _looked(db, principal, {name: str(value) for name, value in given.items() if value is not None})
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
        """List all types of events, each with the JSON Schema of its data."""
        return EventTypeList(catalogue(state.features))


def _looked(db: Transaction, principal: Principal, filters: dict[str, str]) -> None:
    record(db, AuditRead(target_id=str(principal.organization_id), filters=filters))


CONTROLLERS = (AuditController,)
