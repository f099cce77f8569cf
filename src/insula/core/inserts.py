"""The write path's short cut: a new row as one statement, compiled once and run on the driver."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from insula.core.db import Transaction
from insula.core.ids import to_uuid
from insula.core.journal import Part
from insula.core.queries import DIALECT

_TENANT: Final = "tenant_id"
_ME: Final = sa.table("me", sa.column(_TENANT))
"""Of the statement that this one becomes a part of: whose it is comes from the signed context (core/journal.py)."""

_Value = Callable[[dict[str, Any]], Any]


class Insert:
    """Writes new rows of one model: the ORM's defaults without its unit of work, which costs several times as much.

    All of a row is known before it is written, which is when somebody may ask for it: with the next statement of its
    transaction, or in the one that ends it. What the database refuses is raised then.
    """

    def __init__(self, model: type[Any]) -> None:
        mapper: Mapper[Any] = sa.inspect(model)
        table: sa.Table = model.__table__
        columns = [column for column in table.c if column.name != _TENANT]
        self._keys = [mapper.get_property_by_column(column).key for column in columns]
        self._defaults = [_default(mapper, column) for column in columns]
        self._binds = [column.type.dialect_impl(DIALECT).bind_processor(DIALECT) for column in columns]
        values = sa.select(_ME.c.tenant_id, *(sa.bindparam(column.key, type_=column.type) for column in columns))
        statement = sa.insert(table).from_select([_TENANT, *columns], values, include_defaults=False)
        self._sql = statement.compile(dialect=DIALECT).string

    async def write(self, db: Transaction, row: Any) -> None:
        """Write ``row`` soon; it is changed like the rows that were read."""
        await db.flush()
        assert db.principal is not None
        assert db.principal.organization_id is not None
        state: dict[str, Any] = row.__dict__
        values = []
        for key, default, bind in zip(self._keys, self._defaults, self._binds, strict=True):
            if key not in state:
                state[key] = default(_SoFar(state))
            value = state[key]
            values.append(value if bind is None else bind(value))
        state[_TENANT] = to_uuid("org", db.principal.organization_id)
        db.journal.row = Part(self._sql, values)
        db.adopt(row)


@cache
def insert_of(model: type[Any]) -> Insert:
    """The model's statement, compiled when first asked for."""
    return Insert(model)


class _SoFar:
    """What a column's default may ask of the ORM's context: the values of the columns before it."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.get_current_parameters = lambda: values


def _default(mapper: Mapper[Any], column: sa.Column[Any]) -> Callable[[_SoFar], Any]:
    if column is mapper.version_id_col:
        return lambda _: 1
    default: Any = column.default
    if default is None and column.server_default is None:
        return lambda _: None
    if default is None:
        raise TypeError(f"{column}: what only the database fills in is not known before the row is written")
    if default.is_callable:
        of_context: Callable[[_SoFar], Any] = default.arg
        return of_context
    if default.is_scalar:
        return lambda _: default.arg
    raise TypeError(f"{column}: what only SQL can compute is not known before the row is written")
