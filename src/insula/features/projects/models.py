"""The project table."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column, validates

from insula.core.ids import TypeID
from insula.core.listing import normalize
from insula.core.models import Base, SoftDeleted, TenantOwned, Timestamped, Versioned

ID_PREFIX = "prj"


class Project(TenantOwned, Timestamped, Versioned, SoftDeleted, Base):
    """Something an organization works on, optionally owned by one of its teams."""

    __tablename__ = "project"
    ID_PREFIX = ID_PREFIX

    name: Mapped[str]
    name_norm: Mapped[str]
    key: Mapped[str]
    status: Mapped[str] = mapped_column(default="active")
    team_id: Mapped[str | None] = mapped_column(TypeID("tea"))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    created_by: Mapped[str | None] = mapped_column(TypeID("mem"))

    @validates("name")
    def _normalize_name(self, _: str, name: str) -> str:
        self.name_norm = normalize(name)
        return name

    def delete(self, at: datetime) -> None:
        """Hide it; until it is purged it can be restored."""
        self.deleted_at = at

    def restore(self) -> None:
        """Bring it back; its key may be taken by now, which the database refuses."""
        self.deleted_at = None
