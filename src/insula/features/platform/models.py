"""The program's own tables as operators see them."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from insula.core.ids import TypeID
from insula.core.jobs import ID_PREFIX
from insula.core.models import Base, minted


class Job(Base):
    """A row of the outbox."""

    __tablename__ = "outbox"

    id: Mapped[str] = mapped_column(TypeID(ID_PREFIX), primary_key=True)
    organization_id: Mapped[str | None] = mapped_column("tenant_id", TypeID("org"), key="organization_id")
    user_id: Mapped[str | None] = mapped_column(TypeID("usr"))
    queue: Mapped[str]
    task: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str]
    attempt: Mapped[int]
    failures: Mapped[int]
    crashes: Mapped[int]
    last_error: Mapped[str | None]
    trace_id: Mapped[str | None] = mapped_column("trace", key="trace_id")
    due_at: Mapped[datetime]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class OperatorAction(Base):
    """What an operator did, or somebody at the command line about operators; written in the same transaction, never
    changed.
    """

    __tablename__ = "operator_action"

    id: Mapped[str] = mapped_column(TypeID("opa"), primary_key=True, default=minted("opa"))
    user_id: Mapped[str | None] = mapped_column(TypeID("usr"))
    action: Mapped[str]
    target: Mapped[str]
    context: Mapped[dict[str, Any]] = mapped_column(JSONB)
    occurred_at: Mapped[datetime]
