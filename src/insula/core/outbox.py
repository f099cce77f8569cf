"""The decisions of operators about dead letters: retry, discard. Needs the platform's login."""

from typing import Final

from insula.core.db import Transaction
from insula.core.errors import NotDead, NotFound
from insula.core.ids import to_uuid
from insula.core.jobs import ID_PREFIX

_STATUS: Final = "SELECT status FROM app.outbox WHERE id = $1"
_DEAD: Final = "SELECT FROM app.outbox WHERE id = $1 AND status = 'dead' FOR UPDATE"
"""No other row is locked: whoever runs a job passes over one that somebody holds."""
_RETRY: Final = """
UPDATE app.outbox SET status = 'due', due_at = now(), failures = 0, crashes = 0, finished_at = NULL WHERE id = $1
"""
_DISCARD: Final = "UPDATE app.outbox SET status = 'discarded', finished_at = now() WHERE id = $1"


async def retry_job(db: Transaction, job_id: str) -> None:
    """Give a dead letter all of its attempts again. Raises NotFound and NotDead."""
    await _decide(db, job_id, _RETRY)


async def discard_job(db: Transaction, job_id: str) -> None:
    """Give a dead letter up for good. Raises NotFound and NotDead."""
    await _decide(db, job_id, _DISCARD)


async def _decide(db: Transaction, job_id: str, statement: str) -> None:
    key = to_uuid(ID_PREFIX, job_id)
    if await db.driver.fetchrow(_DEAD, key) is None:
        raise NotFound if await db.driver.fetchval(_STATUS, key) is None else NotDead
    await db.driver.execute(statement, key)
