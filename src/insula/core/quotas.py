"""How much of something an organization may have: defaults from the settings, per organization from the door."""

import time
from collections import OrderedDict
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from insula.core.db import Transaction
from insula.core.errors import Forbidden
from insula.core.permissions import Principal
from insula.core.queries import Query
from insula.core.schemas import Read


class LimitReached(Forbidden):
    """The organization's plan allows no more of these."""

    code, title = "limit_reached", "The organization's limit is reached"


DELETED_AT_LEAST: Final = 1000
"""Where few rows are allowed, more than so few may be deleted and restored: people try things out."""
_PART: Final = 16
"""What part of the room that was found may be filled before it is looked for again."""
_SECONDS: Final = 10.0
_REMEMBERED: Final = 10_000


class _Rows(Read, frozen=True):
    count: int


class _Room(msgspec.Struct):
    """What was found of one organization."""

    limit: int
    unasked: int
    """How many more rows may come before the next look."""
    until: float


class Quota:
    """A limit on the rows of one kind.

    Rows are counted up to the limit, and with much room left not each time: a limit of many would cost more with every
    row. Processes and requests at the same moment may pass it together by a few: a quota is commercial, not a safety
    rule. Near the limit, and for small limits, every row is preceded by a count.

    ``name`` is that of the limit. What is deleted and can be restored has a quota of its own (``deleted``), of as many:
    whoever makes and deletes all day would fill the disk otherwise.
    """

    def __init__(self, name: str, rows: sa.Select[Any], *, deleted: bool = False) -> None:
        self.name = name
        self._deleted = deleted
        # Without its columns a statement that has no condition would forget its table.
        ones = rows.with_only_columns(sa.literal(1), maintain_column_froms=True)
        some = ones.limit(sa.bindparam("limit", type_=sa.BigInteger)).subquery()
        self._query = Query(sa.select(sa.func.count().label("count")).select_from(some), _Rows)
        self._rooms: OrderedDict[str, _Room] = OrderedDict()

    async def require_room(self, db: Transaction) -> None:
        """Raise LimitReached when one more would be too many."""
        assert db.principal is not None
        organization, limit = db.principal.organization_id or "", self._limit(db.principal)
        room = self._rooms.get(organization)
        if room is not None and room.limit == limit and room.unasked and time.monotonic() < room.until:
            room.unasked -= 1
            return
        found = await self._query.one_or_none(db, limit=limit)
        left = limit - (found.count if found is not None else 0)
        if left < 1:
            raise LimitReached(self._told(limit))
        self._rooms[organization] = _Room(limit, left // _PART, time.monotonic() + _SECONDS)
        self._rooms.move_to_end(organization)
        if len(self._rooms) > _REMEMBERED:
            self._rooms.popitem(last=False)

    def _limit(self, principal: Principal) -> int:
        limit = int(principal.limits[self.name])
        return max(limit, DELETED_AT_LEAST) if self._deleted else limit

    def _told(self, limit: int) -> str:
        if self._deleted:
            return f"This organization may have {limit} deleted {self.name}, which go for good after 30 days."
        return f"This organization may have {limit} {self.name}."
