"""Comparisons that indexes answer under row security: of texts and moments, in keys that begin with whose they are."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

_OWNERS: Final = frozenset({"tenant_id", "user_id"})
_KINDS: Final = (sa.Text, sa.DateTime)


def keyed(column: Any) -> bool:
    """Whether the column is a text or a moment of a table whose key begins with whose a row is.

    PostgreSQL lets an index answer only what promises to leak nothing, and of its own comparisons those of ids alone
    may promise it here. These are others by their operators and by nothing else (migrations/sql/provision.sql); an
    index answers them where its columns say ``app.text_key_ops`` or ``app.moment_key_ops``. Other columns are compared
    as ever.
    """
    table = column.table
    if not isinstance(column.type, _KINDS) or not isinstance(table, sa.Table):
        return False
    return next(iter(table.primary_key.columns)).name in _OWNERS


def compared(column: Any, sign: str, value: Any) -> sa.ColumnElement[bool]:
    """``column sign value``; the sign is one of ``=``, ``<``, ``<=`` and ``>=``."""
    ours = f"OPERATOR(app.#{sign})" if keyed(column) else sign
    return collated(column).op(ours, is_comparison=True)(value)  # type: ignore[no-any-return]


def ordered(column: Any, *, descending: bool) -> sa.ColumnElement[Any]:
    """The column as ORDER BY has it."""
    if keyed(column):
        modifier: custom_op[Any] = custom_op(f"USING OPERATOR(app.#{'>' if descending else '<'})")
        return UnaryExpression(collated(column), modifier=modifier)
    return sa.desc(collated(column)) if descending else sa.asc(collated(column))


def collated(column: Any) -> Any:
    """As it is sorted: normalised texts by their code points, whatever the database's language."""
    return column.collate("C") if column.key.endswith("_norm") else column
