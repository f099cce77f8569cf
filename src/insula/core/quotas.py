"""How much of something an organization may have: defaults from the settings, per organization from the door."""

from typing import Any

import sqlalchemy as sa

from insula.core.db import Transaction
from insula.core.errors import Forbidden
from insula.core.queries import Query
from insula.core.schemas import Read


class LimitReached(Forbidden):
    """The organization's plan allows no more of these."""

    code, title = "limit_reached", "The organization's limit is reached"


class _Found(Read, frozen=True):
    exists: bool


class Quota:
    """A limit on the rows of one kind.

    Whether row number ``limit`` exists is asked instead of a count, so the cost is bounded by the limit. Requests that
    run at the same moment may pass it together: a quota is commercial, not a safety rule.
    """

    def __init__(self, name: str, rows: sa.Select[Any]) -> None:
        self.name = name
        last = rows.with_only_columns(sa.literal(1)).offset(sa.bindparam("limit", type_=sa.BigInteger)).limit(1)
        self._query = Query(sa.select(sa.exists(last).label("exists")), _Found)

    async def require_room(self, db: Transaction) -> None:
        """Raise LimitReached when one more would be too many."""
        assert db.principal is not None
        limit = int(db.principal.limits[self.name])
        found = await self._query.one_or_none(db, limit=limit - 1)
        if found is not None and found.exists:
            raise LimitReached(f"This organization may have {limit} {self.name}.")
