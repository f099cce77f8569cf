"""Where events are found."""

import sqlalchemy as sa

from insula.core.listing import Filter, Listing, Since, Until
from insula.core.queries import Query
from insula.features.audit.models import StoredEvent
from insula.features.audit.schemas import EventRead

_EVENTS = StoredEvent.__table__.c
_SELECT = sa.select(*(_EVENTS["version" if name == "schema_version" else name] for name in EventRead.__struct_fields__))

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
