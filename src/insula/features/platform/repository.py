"""Where operators find jobs, and what operators did."""

import sqlalchemy as sa

from insula.core.listing import Filter, Listing
from insula.core.queries import Query, columns_of
from insula.features.platform.models import Job, OperatorAction
from insula.features.platform.schemas import JobRead, OperatorActionRead

_JOBS = Job.__table__.c
_TRACE = sa.func.split_part(_JOBS.trace_id, "-", 1).label("trace_id")  # what stands behind it is a span
_JOB_ROWS = sa.select(*(_TRACE if column.key == "trace_id" else column for column in columns_of(Job, JobRead)))

JOB = Query(_JOB_ROWS.where(_JOBS.id == sa.bindparam("id", type_=_JOBS.id.type)), JobRead)

JOBS = Listing(
    _JOB_ROWS,
    JobRead,
    key=_JOBS.id,
    sorts={"created_at": _JOBS.id},
    filters={
        "status": Filter(_JOBS.status),
        "queue": Filter(_JOBS.queue),
        "task": Filter(_JOBS.task),
        "organization_id": Filter(_JOBS.organization_id),
    },
)

_ACTIONS = OperatorAction.__table__.c

ACTIONS = Listing(
    sa.select(*columns_of(OperatorAction, OperatorActionRead)),
    OperatorActionRead,
    key=_ACTIONS.id,
    sorts={"occurred_at": _ACTIONS.id},
    default="-occurred_at",
)
