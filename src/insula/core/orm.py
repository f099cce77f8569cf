"""The ORM's half of a transaction: nothing is asked through it before the row that waits is written."""

from sqlalchemy.event import listens_for
from sqlalchemy.orm import ORMExecuteState, Session
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


def _write_row(session: Session) -> None:
    journal: Journal = session.info[Journal]
    if journal.row is not None:
        await_only(journal.write_row(session.info[Pooled].driver))
