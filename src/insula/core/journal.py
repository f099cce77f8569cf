"""What a transaction leaves behind: events, jobs, a stored answer and its last new row, written in one statement."""

import re
from collections.abc import Hashable
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Final

import asyncpg
import msgspec

from insula.core.ids import days_after, new_uuid
from insula.core.lately import LATELY

# The tenant comes from the signed context, verified once for all that is written here (and once more by each table's
# policy). Lists travel as one JSON bind each. Ids of events are made here and follow the latest that the tenant has,
# whatever the clocks of other machines say, if it lies ahead by less than a day: as app.follow_latest_event has it for
# doors.
_ME: Final = """
WITH me AS MATERIALIZED (
    SELECT app.tenant_id() AS tenant_id, app.user_id() AS user_id
)"""
_EVENTS: Final = """
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id,
                           target_type, target_id, data, personal, context)
    SELECT (SELECT tenant_id FROM me), e.id, e.type, e.version, e.actor_type, e.actor_id, e.credential_id,
           e.target_type, e.target_id, e.data, e.personal, e.context
      FROM ROWS FROM (
          unnest(coalesce(
              (SELECT app.moved_behind(e.id, $1) FROM app.event AS e
                WHERE e.tenant_id = (SELECT tenant_id FROM me) AND e.id > $2 AND e.id < $3
                ORDER BY e.id DESC LIMIT 1), $1)),
          jsonb_to_recordset($4::text::jsonb) AS (
              type text, version smallint, actor_type text, actor_id text, credential_id text,
              target_type text, target_id text, data jsonb, personal jsonb, context jsonb)
      ) AS e (id, type, version, actor_type, actor_id, credential_id, target_type, target_id, data, personal, context)
"""
# One event or one job is what most commands leave: as columns, which cost a third of a list of one.
_EVENT: Final = """
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id,
                           target_type, target_id, data, personal, context)
    SELECT me.tenant_id,
           coalesce((SELECT (app.moved_behind(e.id, ARRAY[$1::uuid]))[1] FROM app.event AS e
                      WHERE e.tenant_id = me.tenant_id AND e.id > $1 AND e.id < $2 ORDER BY e.id DESC LIMIT 1), $1),
           $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11::text::jsonb, $12::text::jsonb
      FROM me
"""
_TASK: Final = """
    INSERT INTO app.outbox (tenant_id, user_id, lane, id, queue, task, payload, due_at, trace)
    SELECT me.tenant_id, me.user_id, coalesce(me.tenant_id, me.user_id), $1, $2, $3, $4::text::jsonb,
           now() + make_interval(secs => $5), $6
      FROM me
"""
_TASKS: Final = """
    INSERT INTO app.outbox (tenant_id, user_id, lane, id, queue, task, payload, due_at, trace)
    SELECT me.tenant_id, me.user_id, coalesce(me.tenant_id, me.user_id), t.id, t.queue, t.task, t.payload,
           now() + make_interval(secs => t.delay), t.trace
      FROM me, jsonb_to_recordset($1::text::jsonb)
           AS t (id uuid, queue text, task text, payload jsonb, delay float8, trace text)
"""
_ANSWER: Final = """
    INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer) VALUES ((SELECT user_id FROM me), $1, $2, $3)
"""
# A person's own record: whose it is and when it was, the door says.
_ACCOUNT: Final = "SELECT app.record_mine($1::text::jsonb)"


# An operator's: their login is in nobody's context, so they show their session once more.
_OPERATORS_ANSWER: Final = "SELECT app.keep_operators_answer($1, $2, $3, $4)"


class StoredAnswer(msgspec.Struct, frozen=True):
    """What a request with an Idempotency-Key was answered, sealed."""

    name: bytes
    """The hash of its key."""
    fingerprint: bytes
    """Of the request."""
    sealed: bytes
    operator: bytes | None
    """The hash of the session, of who came in by the operators' door."""


class Part(msgspec.Struct, frozen=True):
    """One of the INSERTs of a statement, and its binds."""

    sql: str
    values: list[Any]


class Journal:
    """Collects until the commit: a request pays one round trip for its new row, its events, its jobs and its answer."""

    def __init__(self) -> None:
        self.row: Part | None = None
        """The row that nobody has asked for yet."""
        self.events: list[dict[str, Any]] = []
        self.account: list[dict[str, Any]] = []
        """Events of the person's own record."""
        self.tasks: list[dict[str, Any]] = []
        self.said: list[Hashable] = []
        """What need not be said again for a while, once it is committed."""
        self.answer: StoredAnswer | None = None

    async def write_row(self, driver: asyncpg.Connection) -> None:
        """Write the row that waits: the next statement may ask for it."""
        if self.row is not None:
            row, self.row = self.row, None
            await driver.execute(_together(((row.sql, len(row.values)),)), *row.values)

    async def write(self, driver: asyncpg.Connection) -> None:
        """Write what was collected, inside the transaction that is about to commit."""
        if self.account:
            await driver.execute(_ACCOUNT, _json(self.account))
        if self.answer is not None and self.answer.operator is not None:
            binds = (self.answer.operator, self.answer.name, self.answer.fingerprint, self.answer.sealed)
            await driver.execute(_OPERATORS_ANSWER, *binds)
            self.answer = None
        if parts := self._parts():
            statement = _together(tuple((part.sql, len(part.values)) for part in parts))
            await driver.execute(statement, *chain.from_iterable(part.values for part in parts))
        self.row, self.events, self.account, self.tasks, self.answer = None, [], [], [], None

    def _parts(self) -> list[Part]:
        """What there is to be written together."""
        parts = [] if self.row is None else [self.row]
        if self.answer is not None:
            parts.append(Part(_ANSWER, [self.answer.name, self.answer.fingerprint, self.answer.sealed]))
        if len(self.events) == 1:
            id_ = new_uuid()
            parts.append(Part(_EVENT, [id_, days_after(id_, 1), *_columns(self.events[0])]))
        elif self.events:
            ids = [new_uuid() for _ in self.events]
            parts.append(Part(_EVENTS, [ids, ids[0], days_after(ids[0], 1), _json(self.events)]))
        if len(self.tasks) == 1:
            parts.append(Part(_TASK, _columns(self.tasks[0])))
        elif self.tasks:
            parts.append(Part(_TASKS, [_json(self.tasks)]))
        return parts

    def committed(self) -> None:
        """What was written is there to stay."""
        for what in self.said:
            LATELY.say(what)


@lru_cache
def _together(parts: tuple[tuple[str, int], ...]) -> str:
    """All as one statement: the binds of each follow those of the ones before."""
    statement, taken = _ME, 0
    for number, (sql, binds) in enumerate(parts):
        moved = re.sub(r"\$(\d+)", partial(_moved, taken), sql)
        statement += f", part_{number} AS ({moved})"
        taken += binds
    return f"{statement} SELECT FROM me"


def _moved(by: int, bind: re.Match[str]) -> str:
    return f"${int(bind[1]) + by}"


def _columns(row: dict[str, Any]) -> list[Any]:
    return [_json(value) if isinstance(value, dict) else value for value in row.values()]


def _json(rows: list[dict[str, Any]] | dict[str, Any]) -> str:
    return msgspec.json.encode(rows).decode()
