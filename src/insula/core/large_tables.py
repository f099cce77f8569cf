"""What migrations do to large tables while the program runs: in many transactions, so that no lock is held long."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError

from insula.core.errors import sqlstate_of
from insula.core.tables import SCHEMA

BATCH: Final = 1000
"""Rows that a backfill changes at once: whoever wants to change one of them too waits for the others."""
_PATIENCE: Final = sa.text("SET lock_timeout = '500ms'")
"""Of a batch. Less than deadlock_timeout (1 s): in a circle it is always the backfill that gives up, and no request."""
_NO_HURRY: Final = sa.text("SET lock_timeout = 0")
_ATTEMPTS: Final = 60
_BUSY: Final = "55P03"

# Until the revision is written down. What there is meanwhile is no release's: who starts now must not mind it.
_UNFINISHED: Final = sa.text("""
DO $$ BEGIN
    EXECUTE format('COMMENT ON SCHEMA app IS %L',
                   replace(obj_description('app'::regnamespace, 'pg_namespace'), ' unfinished', '') || ' unfinished');
END $$
""")


class RowsLeft(RuntimeError):
    """Rows that nobody filled appeared behind the backfill: it has to be run again, after what is missing was added."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"{table}: rows without the value were added meanwhile. The program of before knows nothing of it: give the"
            " column a default or the table a trigger, in a revision before this one."
        )


def create_index(op: Operations, name: str, table: str, columns: Sequence[Any], **options: Any) -> None:
    """Build an index while others write; ``columns`` and ``options`` are those of ``op.create_index``.

    It waits for every transaction that is older, and nobody but other migrations waits for it.
    """
    with _outside_of_a_transaction(op) as connection:
        connection.execute(_NO_HURRY)
        # What an interrupted run left behind is not valid, and IF NOT EXISTS would take it for the index.
        op.drop_index(name, table, schema=SCHEMA, if_exists=True, postgresql_concurrently=True)
        options |= {"schema": SCHEMA, "if_not_exists": True, "postgresql_concurrently": True}
        op.create_index(name, table, columns, **options)


def drop_index(op: Operations, name: str, table: str) -> None:
    """The other way round, while others read."""
    with _outside_of_a_transaction(op) as connection:
        connection.execute(_NO_HURRY)
        op.drop_index(name, table, schema=SCHEMA, if_exists=True, postgresql_concurrently=True)


def backfill(
    op: Operations, table: str, values: Mapping[str, Any], *, missing: sa.ColumnElement[bool], rows: int = BATCH
) -> int:
    """Give ``values`` to the rows that are ``missing`` them, batch by batch along the primary key; returns how many.

    Interrupted, it is run again. Raises RowsLeft: a policy or the program of before may leave rows out silently.
    """
    changed = 0
    with _outside_of_a_transaction(op) as connection:
        connection.execute(_PATIENCE)
        key = _primary_key(connection, table)
        target = sa.table(table, *key, *map(sa.column, values), schema=SCHEMA)
        for batch in _batches(connection, key, rows):
            changed += _patiently(connection, sa.update(target).where(batch, missing).values(values))
        if connection.scalar(sa.select(sa.exists().where(missing).select_from(target))):
            raise RowsLeft(table)
        connection.execute(_NO_HURRY)
    return changed


@contextmanager
def _outside_of_a_transaction(op: Operations) -> Iterator[sa.Connection]:
    op.execute(_UNFINISHED)
    with op.get_context().autocommit_block():
        yield op.get_bind()


def _primary_key(connection: sa.Connection, table: str) -> list[sa.ColumnClause[Any]]:
    inspector = sa.inspect(connection)
    types = {column["name"]: column["type"] for column in inspector.get_columns(table, SCHEMA)}
    names = inspector.get_pk_constraint(table, SCHEMA)["constrained_columns"]
    return [sa.column(name, types[name]) for name in names]


def _batches(
    connection: sa.Connection, columns: Sequence[sa.ColumnClause[Any]], rows: int
) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions on the primary key, each for so many rows: an index finds them, however many were changed before."""
    key = sa.tuple_(*columns)
    after: sa.ColumnElement[bool] = sa.true()
    while True:
        ends = sa.select(*columns).where(after).order_by(*columns).offset(rows - 1).limit(1)
        last = connection.execute(ends).one_or_none()
        if last is None:
            yield after
            return
        end = sa.tuple_(*last, types=[column.type for column in columns])
        yield sa.and_(after, key <= end)
        after = key > end


def _patiently(connection: sa.Connection, statement: sa.Update) -> int:
    """How many rows it changed. Where one of them is held for long, the batch lets the others go, and begins again."""
    for _ in range(_ATTEMPTS):
        try:
            return connection.execute(statement).rowcount
        except DBAPIError as error:
            if sqlstate_of(error) != _BUSY:
                raise
            busy = error
    raise busy
