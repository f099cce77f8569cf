"""Where events are found."""

from typing import Any

import sqlalchemy as sa

from insula.core.listing import Filter, Listing, Since, Until
from insula.core.queries import Query
from insula.features.audit.models import AccountEvent, StoredEvent
from insula.features.audit.schemas import AccountEventRead, EventRead


def _select(columns: Any, row: type[AccountEventRead | EventRead]) -> sa.Select[Any]:
    return sa.select(*(columns["version" if name == "schema_version" else name] for name in row.__struct_fields__))


_EVENTS = StoredEvent.__table__.c
_SELECT = _select(_EVENTS, EventRead)

EVENT = Query(_SELECT.where(_EVENTS.id == sa.bindparam("id", type_=_EVENTS.id.type)), EventRead)

EVENTS = Listing(
    _SELECT,
    EventRead,
    key=_EVENTS.id,
    sorts={"occurred_at": _EVENTS.id},
    filters={
        "type": Filter(_EVENTS.type),
        "actor_id": Filter(_EVENTS.actor_id),
        "target_id": Filter(_EVENTS.target_id),
        "since": Since(_EVENTS.id),
        "until": Until(_EVENTS.id),
    },
    default="-occurred_at",
)

_MINE = AccountEvent.__table__.c

ACCOUNT_EVENTS = Listing(
    _select(_MINE, AccountEventRead),
    AccountEventRead,
    key=_MINE.id,
    sorts={"occurred_at": _MINE.id},
    filters={"type": Filter(_MINE.type), "since": Since(_MINE.id), "until": Until(_MINE.id)},
    default="-occurred_at",
)
