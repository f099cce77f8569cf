"""What Prometheus is told of the outbox: how much waits in each queue, how long, and what was given up."""

from collections.abc import Collection, Sequence
from typing import Final

import structlog

from insula.core import metrics
from insula.core.db import Database
from insula.core.lately import LATELY
from insula.core.pace import Pace

UNKNOWN: Final = "unknown"
"""How queues are called together that no task of this program names, and such tasks: any text may stand there, and is
no label."""

# Counting a flood would cost more than knowing its size is worth.
_QUEUES: Final = """
SELECT q.queue,
       (SELECT count(*) FROM (
            SELECT FROM app.outbox AS o WHERE o.status = 'due' AND o.queue = q.queue
             ORDER BY o.queue, o.lane LIMIT 10000) AS due) AS due,
       app.longest_wait(q.queue, CASE WHEN q.queue = ANY ($2) THEN $3::uuid[] ELSE '{}' END) AS oldest
  FROM unnest($1::text[] || app.other_queues($1)) AS q (queue)
"""
_DEAD: Final = "SELECT count(*) FROM (SELECT FROM app.outbox WHERE status = 'dead' LIMIT 10000) AS dead"

_log = structlog.get_logger("insula.gauges")


class Gauges:
    """The outbox as a worker sees it: all queues, also those that it does not serve, for perhaps nobody does."""

    def __init__(
        self, platform: Database, pace: Pace, served: Sequence[str], known: Sequence[str], tasks: Collection[str]
    ) -> None:
        self._platform = platform
        self._pace = pace
        self._served = served
        self._known = known
        self._tasks = frozenset(tasks)

    def lost(self, task: str, outcome: str) -> None:
        """A job's worker is gone."""
        metrics.JOBS.labels(task if task in self._tasks else UNKNOWN, outcome).inc()

    async def take(self) -> None:
        """Tell how the outbox does; a flood that waits for its pace here is nobody's emergency."""
        beyond = self._pace.beyond()
        async with self._platform.transaction(read_only=True) as db:
            rows = await db.driver.fetch(_QUEUES, self._known, self._served, beyond)
            dead = await db.driver.fetchval(_DEAD)
        found = {row["queue"]: (row["due"], row["oldest"]) for row in rows}
        others = found.keys() - set(self._known)
        if others and LATELY.is_news(("unknown queues", frozenset(others))):
            _log.warning("jobs wait in queues that no task of this program names", queues=sorted(others))
        for queue in self._known:
            self._tell(queue, *found[queue])
        self._tell(
            UNKNOWN, sum(found[name][0] for name in others), max((found[name][1] for name in others), default=0.0)
        )
        metrics.OUTBOX_PACED.set(len(beyond))
        metrics.DEAD_LETTERS.set(dead)

    def _tell(self, queue: str, due: int, oldest: float) -> None:
        metrics.OUTBOX_DEPTH.labels(queue).set(due)
        metrics.OUTBOX_OLDEST.labels(queue, "yes" if queue in self._served else "no").set(oldest)
