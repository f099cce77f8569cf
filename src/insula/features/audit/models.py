"""The event table, as it is read; core/journal.py writes it."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped

from insula.core.events import ID_PREFIX
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
    context: Mapped[dict[str, Any]]
