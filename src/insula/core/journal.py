"""What a transaction leaves behind: events, jobs, a stored answer and its last new row, written in one statement."""

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Final

import asyncpg
import msgspec

from insula.core import account
from insula.core.ids import new_uuid
from insula.core.lately import LATELY

# Both lists travel as one JSON bind each; the tenant comes from the signed context, verified once for all that is
# written here (and once more by each table's policy). Ids of events are made here and follow the latest that the tenant
# has, whatever the clocks of other machines say.
_WRITE: Final = """
WITH me AS MATERIALIZED (
    SELECT app.tenant_id() AS tenant_id, app.user_id() AS user_id
), events AS (
    INSERT INTO app.event (tenant_id, id, type, version, actor_type, actor_id, credential_id,
                           target_type, target_id, data, context)
    SELECT (SELECT tenant_id FROM me), e.id, e.type, e.version, e.actor_type, e.actor_id, e.credential_id,
           e.target_type, e.target_id, e.data, e.context
      FROM ROWS FROM (
          unnest(app.follow_latest_event((SELECT tenant_id FROM me), $1)),
          jsonb_to_recordset($2::text::jsonb) AS (
              type text, version smallint, actor_type text, actor_id text, credential_id text,
              target_type text, target_id text, data jsonb, context jsonb)
      ) AS e (id, type, version, actor_type, actor_id, credential_id, target_type, target_id, data, context)
)
INSERT INTO app.outbox (tenant_id, user_id, lane, id, task, payload, due_at, trace)
SELECT me.tenant_id, me.user_id, coalesce(me.tenant_id, me.user_id), t.id, t.task, t.payload,
       now() + make_interval(secs => t.delay), t.trace
  FROM me, jsonb_to_recordset($3::text::jsonb) AS t (id uuid, task text, payload jsonb, delay float8, trace text)
"""
_WRITE_WITH_ANSWER: Final = _WRITE.replace(
    "), events",
    "), answer AS ("
    "INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer) VALUES ((SELECT user_id FROM me), $4, $5, $6)"
    "), events",
)


class NewRow(msgspec.Struct, frozen=True):
    """A row to be inserted."""

    sql: str
    values: list[Any]


class Journal:
    """Collects until the commit: a request pays one round trip for its new row, its events, its jobs and its answer."""

    def __init__(self) -> None:
        self.row: NewRow | None = None
        """The row that nobody has asked for yet."""
        self.events: list[dict[str, Any]] = []
        self.account: list[dict[str, Any]] = []
        """Events of the person's own record."""
        self.tasks: list[dict[str, Any]] = []
        self.said: list[Hashable] = []
        """What need not be said again for a while, once it is committed."""
        self.answer: tuple[bytes, bytes, bytes] | None = None
        """A sealed answer to repeat: the hash of its key, the request's fingerprint, the answer."""

    async def write_row(self, driver: asyncpg.Connection) -> None:
        """Write the row that waits: the next statement may ask for it."""
        if self.row is not None:
            row, self.row = self.row, None
            await driver.execute(row.sql, *row.values)

    async def write(self, driver: asyncpg.Connection) -> None:
        """Write what was collected, inside the transaction that is about to commit."""
        if self.account:
            await account.write(driver, self.account)
        if self.answer is None and not self.events and not self.tasks:
            await self.write_row(driver)
        else:
            await self._write_together(driver)
        self.events, self.account, self.tasks, self.answer = [], [], [], None

    async def _write_together(self, driver: asyncpg.Connection) -> None:
        statement = _WRITE if self.answer is None else _WRITE_WITH_ANSWER
        binds: list[Any] = [[new_uuid() for _ in self.events], _json(self.events), _json(self.tasks)]
        binds += self.answer or ()
        if self.row is not None:
            row, self.row = self.row, None
            statement = _beside(row.sql, len(row.values), statement)
            binds = [*row.values, *binds]
        await driver.execute(statement, *binds)

    def committed(self) -> None:
        """What was written is there to stay."""
        for what in self.said:
            LATELY.say(what)


@lru_cache
def _beside(insert: str, binds: int, statement: str) -> str:
    """Both as one statement: the binds of the second follow those of the first."""
    moved = re.sub(r"\$(\d+)", lambda bind: f"${int(bind[1]) + binds}", statement)
    return moved.replace("WITH ", f"WITH row AS ({insert}), ", 1)


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
