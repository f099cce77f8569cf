"""The tables of events, as they are read; core/journal.py and doors write them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid
from sqlalchemy.orm import Mapped, mapped_column

from insula.core.events import ID_PREFIX
from insula.core.ids import TypeID
from insula.core.models import Base, TenantOwned


class StoredEvent(TenantOwned, Base):
    """Something that happened in an organization. It is never changed, and goes with its month's partition."""

    __tablename__ = "event"
    ID_PREFIX = ID_PREFIX

    type: Mapped[str]
    version: Mapped[int]
    occurred_at: Mapped[datetime]
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
    credential_id: Mapped[str | None]
    target_type: Mapped[str]
    target_id: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    personal: Mapped[dict[str, Any] | None]
    context: Mapped[dict[str, Any]]


class AccountEvent(Base):
    """Something that happened to a person. It is never changed, and forgotten after 400 days."""

    __tablename__ = "account_event"

    user_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    id: Mapped[str] = mapped_column(TypeID(ID_PREFIX), primary_key=True)
    type: Mapped[str]
    version: Mapped[int]
    occurred_at: Mapped[datetime]
    credential_id: Mapped[str | None]
    target_type: Mapped[str]
    target_id: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    context: Mapped[dict[str, Any]]
