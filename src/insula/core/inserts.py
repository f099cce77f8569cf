"""The write path's short cut: a new row as one statement, compiled once and run on the driver."""

from collections.abc import Callable
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from insula.core.db import Transaction
from insula.core.queries import DIALECT

_Value = Callable[[dict[str, Any]], Any]


class Insert:
    """Writes new rows of one model: the ORM's defaults without its unit of work, which costs several times as much."""

    def __init__(self, model: type[Any]) -> None:
        mapper: Mapper[Any] = sa.inspect(model)
        table: sa.Table = model.__table__
        columns = list(table.c)
        given = [column for column in columns if column.server_default is None]
        made = [column for column in columns if column.server_default is not None]
        self._keys = [mapper.get_property_by_column(column).key for column in given]
        self._defaults = [_default(mapper, column) for column in given]
        self._binds = [column.type.dialect_impl(DIALECT).bind_processor(DIALECT) for column in given]
        self._made = [mapper.get_property_by_column(column).key for column in made]
        statement = sa.insert(table).values({column: sa.bindparam(column.key) for column in given})
        self._sql = statement.returning(*made).compile(dialect=DIALECT).string

    async def write(self, db: Transaction, row: Any) -> None:
        """Write ``row``; afterwards it is changed like the rows that were read."""
        driver = await db.flush()
        state: dict[str, Any] = row.__dict__
        values = []
        for key, default, bind in zip(self._keys, self._defaults, self._binds, strict=True):
            if key not in state:
                state[key] = default(_SoFar(state))
            value = state[key]
            values.append(value if bind is None else bind(value))
        made = await driver.fetchrow(self._sql, *values)
        state.update(zip(self._made, made, strict=True))
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
    if default is None:
        return lambda _: None
    if default.is_callable:
        of_context: Callable[[_SoFar], Any] = default.arg
        return of_context
    if default.is_scalar:
        return lambda _: default.arg
    raise TypeError(f"{column}: a default that only SQL can compute belongs into the schema")
