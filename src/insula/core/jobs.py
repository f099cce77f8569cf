"""Background jobs: asked for inside a transaction, run after it, exactly once as far as the database can tell."""

import msgspec

from insula.core.db import Transaction
from insula.core.ids import new_id, to_uuid
from insula.core.schemas import Task

ID_PREFIX = "job"


def enqueue(db: Transaction, task: Task, *, delay: float = 0.0) -> str:
    """Ask for ``task`` to be done ``delay`` seconds after this transaction commits, and never if it does not.

    Returns the job's id.
    """
    job_id = new_id(ID_PREFIX)
    db.journal.tasks.append(
        {
            "id": to_uuid(ID_PREFIX, job_id),
            "task": task.NAME,
            "payload": msgspec.to_builtins(task),
            "delay": delay,
            "trace": db.facts.trace_id,
        }
    )
    return job_id
