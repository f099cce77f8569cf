"""The read path: SQLAlchemy Core statements compiled once, run on the driver, rows straight into Structs."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from asyncpg import Record
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from insula.core.db import Transaction
from insula.core.ids import TypeID, to_text, to_uuid

R = TypeVar("R", bound=msgspec.Struct)

DIALECT: Final = asyncpg_dialect.dialect(  # type: ignore[no-untyped-call]
    json_serializer=lambda value: msgspec.json.encode(value).decode()
)
_Convert = Callable[[Any], Any]


class Query(Generic[R]):
    """A select whose rows become Structs: columns in field order, ids as TypeIDs, JSON passed through unparsed.

    Columns behind the last field are read by name, of the records.
    """

    def __init__(self, statement: sa.Select[Any], row: type[R]) -> None:
        columns = list(statement.selected_columns)
        fields = columns[: len(row.__struct_fields__)]
        self.build = _builder(row, [_conversion(column.type) for column in fields])
        # JSON as text: SQLAlchemy's connections carry a codec that would build dicts, only to be encoded again. Moments
        # as text: Python reads them from it in a third of the time that the driver takes.
        readable = [sa.cast(c, sa.Text) if isinstance(c.type, sa.JSON | sa.DateTime) else c for c in fields]
        readable += columns[len(fields) :]
        compiled = statement.with_only_columns(*readable, maintain_column_froms=True).compile(dialect=DIALECT)
        if compiled.post_compile_params or compiled.literal_execute_params:
            raise TypeError("IN (...) expands at run time: write column == any_(bindparam(...))")
        self.sql: Final = compiled.string
        self._binds = [(name, _bind(compiled.binds[name].type)) for name in compiled.positiontup or []]
        self._defaults = dict(compiled.params)

    async def all(self, db: Transaction, **given: Any) -> list[R]:
        """Every row."""
        return [self.build(record) for record in await self.records(db, **given)]

    async def records(self, db: Transaction, **given: Any) -> list[Record]:
        """Every row as the driver has it; ``build`` makes Structs of them."""
        driver = await db.flush()
        found: list[Record] = await driver.fetch(self.sql, *self._values(given))
        return found

    async def one_or_none(self, db: Transaction, **given: Any) -> R | None:
        """The first row, if any."""
        driver = await db.flush()
        record = await driver.fetchrow(self.sql, *self._values(given))
        return None if record is None else self.build(record)

    def _values(self, given: dict[str, Any]) -> list[Any]:
        if unknown := given.keys() - self._defaults.keys():
            raise TypeError(f"no such parameter: {', '.join(sorted(unknown))}")
        values = self._defaults | given
        return [values[name] if bind is None else bind(values[name]) for name, bind in self._binds]


def columns_of(model: type[Any], row: type[msgspec.Struct]) -> list[Any]:
    """The model's columns in the order of the Struct's fields."""
    return [model.__table__.c[name] for name in row.__struct_fields__]


def _builder(row: type[R], conversions: list[_Convert | None]) -> Callable[[Any], R]:
    """A function from a record to the Struct, written out column by column: half the cost of a loop over them."""
    arguments = ", ".join(
        f"r[{position}]" if convert is None else f"None if (v := r[{position}]) is None else c{position}(v)"
        for position, convert in enumerate(conversions)
    )
    names: dict[str, Any] = {f"c{position}": convert for position, convert in enumerate(conversions)} | {"row": row}
    build: Callable[[Any], R] = eval(f"lambda r: row({arguments})", names)  # noqa: S307  # made of numbers only
    return build


def _conversion(column_type: Any) -> _Convert | None:
    if isinstance(column_type, sa.JSON):
        return _raw
    if isinstance(column_type, sa.DateTime):
        return datetime.fromisoformat
    if isinstance(column_type, TypeID):
        return partial(to_text, column_type.prefix)
    return None


def _bind(column_type: Any) -> _Convert | None:
    if isinstance(column_type, TypeID):
        prefix = column_type.prefix
        return lambda value: None if value is None else to_uuid(prefix, value)
    return None


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())
