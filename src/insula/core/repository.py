"""The write path: advanced-alchemy's repository, its errors unwrapped, with the house's verbs."""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, ClassVar, TypeVar

from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import Select, Uuid, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from insula.core.db import Transaction
from insula.core.errors import NotDeleted, NotFound, PreconditionFailed
from insula.core.etags import ETags, tag_of
from insula.core.ids import to_uuid
from insula.core.inserts import insert_of
from insula.core.queries import DIALECT
from insula.core.tables import SCHEMA, delete_door

M = TypeVar("M", bound=Any)


@cache
def _delete_from(table: str) -> str:
    door = getattr(getattr(func, SCHEMA), delete_door(table))
    return select(door(bindparam("row_id", type_=Uuid))).compile(dialect=DIALECT).string


class Repository(SQLAlchemyAsyncRepository[M]):
    """Stores the rows of one model; one transaction, and so one organization.

    ``wrap_exceptions`` is off: advanced-alchemy would report a killed backend as an integrity error.
    """

    _parts: ClassVar[dict[type, dict[str, Any]]] = {}
    """What advanced-alchemy works out anew for every object, though it is the same for all of a class."""

    def __init__(self, db: Transaction) -> None:
        self._db = db
        parts = self._parts.get(type(self))
        if parts is None:
            super().__init__(session=db.session, wrap_exceptions=False, auto_refresh=False)
            parts = self._parts[type(self)] = {k: v for k, v in vars(self).items() if k not in {"_db", "session"}}
        self.__dict__.update(parts)

    @cached_property
    def session(self) -> AsyncSession:  # type: ignore[override]  # made when first needed; a new row needs none
        return self._db.session

    async def add(self, row: M) -> M:  # type: ignore[override]  # advanced-alchemy's goes through the unit of work
        """Store a new row by the next statement of this transaction, or the one that ends it.

        What the database refuses is answered by the feature's ``constraints``.
        """
        await insert_of(row.__class__).write(self._db, row)
        return row

    async def delete(self, row: M) -> None:  # type: ignore[override]  # by its door: requests have no right to DELETE
        """Delete a row that was loaded, and whatever is deleted with it."""
        table = row.__table__.name
        driver = await self._db.flush()
        await driver.fetchval(_delete_from(table), to_uuid(row.ID_PREFIX, row.id))
        self.session.expunge(row)

    async def get(self, item_id: str, *, version: ETags | None = None, deleted: bool = False) -> M:  # type: ignore[override]  # one way to load, not advanced-alchemy's dozen
        """One row, locked for changing.

        Raises NotFound, also for what belongs to somebody else, PreconditionFailed when ``version`` (If-Match,
        RFC 9110 section 13.1.1) is given without the current one, and NotDeleted where a ``deleted`` one is living.
        """
        model = self.model_type
        statement = select(model).where(model.id == item_id)
        if hasattr(model, "deleted_at"):
            statement = statement.where(model.deleted_at.is_not(None) if deleted else model.deleted_at.is_(None))
        rows = await self.locked(statement)
        if not rows and deleted and await self.session.scalar(select(model.id).where(model.id == item_id)):
            raise NotDeleted
        if not rows:
            raise NotFound
        if version is not None and await self.tag_of(rows[0]) not in version:
            raise PreconditionFailed
        return rows[0]

    async def tag_of(self, row: M) -> str | None:
        """The entity tag of a locked row as it is shown now."""
        return tag_of(row)

    async def locked(self, statement: Select[tuple[M]]) -> Sequence[M]:
        """The rows, locked for changing. Whoever waited for them may have lost the right to: Overtaken is raised."""
        rows: Sequence[M] = (await self.session.scalars(statement.with_for_update())).all()
        if self._db.ask_again is not None:
            await self._db.ask_again()
        return rows
