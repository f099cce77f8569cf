"""The outbox as operators see it: list jobs, retry and discard dead letters. Needs the platform's login."""

from datetime import datetime
from typing import Final, Literal

import asyncpg
import msgspec

from insula.core.db import Transaction
from insula.core.errors import Conflict, NotFound
from insula.core.ids import to_text, to_uuid
from insula.core.jobs import ID_PREFIX

Status = Literal["waiting", "due", "leased", "done", "dead", "discarded"]

_COLUMNS: Final = (
    "id, tenant_id, user_id, task, payload::text AS payload, status, attempt, failures, crashes, last_error, trace,"
    " due_at, created_at, finished_at"
)
_LIST: Final = f"""
SELECT {_COLUMNS} FROM app.outbox WHERE status = $1 AND id > $2 ORDER BY id LIMIT $3
"""  # noqa: S608  # columns are ours
_GET: Final = f"SELECT {_COLUMNS} FROM app.outbox WHERE id = $1 FOR UPDATE"  # noqa: S608
_RETRY: Final = f"""
UPDATE app.outbox SET status = 'due', due_at = now(), failures = 0, crashes = 0, finished_at = NULL
 WHERE id = $1 RETURNING {_COLUMNS}
"""  # noqa: S608
_DISCARD: Final = f"""
UPDATE app.outbox SET status = 'discarded', finished_at = now() WHERE id = $1 RETURNING {_COLUMNS}
"""  # noqa: S608


class JobState(msgspec.Struct, frozen=True):
    """A job as the database knows it. The payload holds ids only, and ``last_error`` no values of rows."""

    id: str
    organization_id: str | None
    user_id: str | None
    task: str
    payload: msgspec.Raw
    status: Status
    attempt: int
    failures: int
    crashes: int
    last_error: str | None
    trace_id: str | None
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None


async def list_jobs(db: Transaction, *, status: Status = "dead", after: str = "", limit: int = 50) -> list[JobState]:
    """Jobs in the order they were asked for; ``after`` is the id of the last one of the page before."""
    rows = await db.driver.fetch(_LIST, status, to_uuid(ID_PREFIX, after), limit)
    return [_state(row) for row in rows]


async def retry_job(db: Transaction, job_id: str) -> tuple[JobState, JobState]:
    """Give a dead letter all of its attempts again; returns it before and after. Raises NotFound, Conflict."""
    return await _change(db, job_id, _RETRY)


async def discard_job(db: Transaction, job_id: str) -> tuple[JobState, JobState]:
    """Give a dead letter up for good; returns it before and after. Raises NotFound, Conflict."""
    return await _change(db, job_id, _DISCARD)


async def _change(db: Transaction, job_id: str, statement: str) -> tuple[JobState, JobState]:
    key = to_uuid(ID_PREFIX, job_id)
    before = await db.driver.fetchrow(_GET, key)
    if before is None:
        raise NotFound
    if before["status"] != "dead":
        raise Conflict("Only a dead letter can be retried or discarded.")
    return _state(before), _state(await db.driver.fetchrow(statement, key))


def _state(row: asyncpg.Record) -> JobState:
    return JobState(
        id=to_text(ID_PREFIX, row["id"]),
        organization_id=to_text("org", row["tenant_id"]) if row["tenant_id"] else None,
        user_id=to_text("usr", row["user_id"]) if row["user_id"] else None,
        task=row["task"],
        payload=msgspec.Raw(row["payload"].encode()),
        status=row["status"],
        attempt=row["attempt"],
        failures=row["failures"],
        crashes=row["crashes"],
        last_error=row["last_error"],
        trace_id=row["trace"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
