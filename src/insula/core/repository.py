"""The write path: advanced-alchemy's repository, its errors unwrapped, with the house's verbs."""

from functools import cache
from typing import Any, TypeVar

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import Select, select

from insula.core.db import Transaction
from insula.core.errors import NotFound, PreconditionFailed
from insula.core.inserts import insert_of

M = TypeVar("M", bound=Any)


class Repository(SQLAlchemyAsyncRepository[M]):
    """Stores the rows of one model; one transaction, and so one organization.

    ``wrap_exceptions`` is off: advanced-alchemy would report a killed backend as an integrity error.
    """

    def __init__(self, db: Transaction) -> None:
        super().__init__(session=db.session, statement=_rows_of(type(self)), wrap_exceptions=False, auto_refresh=False)
        self._db = db

    async def add(self, row: M) -> M:  # type: ignore[override]  # advanced-alchemy's goes through the unit of work
        """Store a new row at once. What the database refuses is answered by the feature's ``constraints``."""
        await insert_of(row.__class__).write(self._db, row)
        return row

    async def get(self, item_id: str, *, version: int | None = None, deleted: bool = False) -> M:  # type: ignore[override]  # one way to load, not advanced-alchemy's dozen
        """One row, locked for changing.

        Raises NotFound, also for what belongs to somebody else, and PreconditionFailed when ``version`` (If-Match,
        RFC 9110 section 13.1.1) is given and no longer current.
        """
        model = self.model_type
        statement = select(model).where(model.id == item_id).with_for_update()
        if hasattr(model, "deleted_at"):
            statement = statement.where(model.deleted_at.is_not(None) if deleted else model.deleted_at.is_(None))
        row: M | None = await self.session.scalar(statement)
        if row is None:
            raise NotFound
        if version is not None and row.version != version:
            raise PreconditionFailed
        return row


@cache
def _rows_of(repository: type[Repository[Any]]) -> Select[Any]:
    """Built once per repository and not once per request."""
    return select(repository.model_type)
