"""What operators do about jobs that failed for good."""

from insula.core import clock
from insula.core.db import Transaction
from insula.core.events import context
from insula.core.outbox import discard_job, retry_job
from insula.features.platform.models import OperatorAction


class DeadLetters:
    """Jobs that will not be tried again unless somebody says so; every decision about one is recorded."""

    def __init__(self, db: Transaction, operator: str) -> None:
        self._db = db
        self._operator = operator

    async def retry(self, job_id: str) -> None:
        """Give it all of its attempts again. Raises NotFound, and Conflict unless it is a dead letter."""
        await retry_job(self._db, job_id)
        await self._note("job.retried", job_id)

    async def discard(self, job_id: str) -> None:
        """Give it up for good. Raises NotFound, and Conflict unless it is a dead letter."""
        await discard_job(self._db, job_id)
        await self._note("job.discarded", job_id)

    async def _note(self, action: str, job_id: str) -> None:
        self._db.session.add(
            OperatorAction(
                user_id=self._operator,
                action=action,
                target=job_id,
                context=context(self._db.facts),
                occurred_at=clock.now(),
            )
        )
        await self._db.flush()
