"""The ORM's half of a transaction: nothing is asked through it before the row that waits is written."""

from sqlalchemy.event import listens_for
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction
from sqlalchemy.util import await_only

from insula.core.journal import Journal
from insula.core.pool import Pooled


class OrmSession(Session):
    """Knows its transaction's ``Journal`` and ``Pooled`` connection by its ``info``."""


@listens_for(OrmSession, "do_orm_execute")
def _before_execute(state: ORMExecuteState) -> None:
    _write_row(state.session)


@listens_for(OrmSession, "before_flush")
def _before_flush(session: Session, *_: object) -> None:
    _write_row(session)


@listens_for(OrmSession, "after_transaction_create")
def _refuse_savepoint(_: Session, transaction: SessionTransaction) -> None:
    """What waits for the commit, a row, events, jobs, would neither be undone with a savepoint nor be refused in it."""
    if transaction.nested:
        raise RuntimeError(
            "a transaction is committed or undone as a whole: ask before writing, in place of a savepoint"
        )


def _write_row(session: Session) -> None:
    journal: Journal = session.info[Journal]
    if journal.row is not None:
        await_only(journal.write_row(session.info[Pooled].driver))
