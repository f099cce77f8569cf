"""The team tables."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column, validates

from insula.core import clock
from insula.core.ids import TypeID
from insula.core.listing import normalize
from insula.core.models import Base, SoftDeleted, TenantOwned, Timestamped, Versioned

ID_PREFIX = "tea"
PLACE_PREFIX = "tmb"


class Team(TenantOwned, Timestamped, Versioned, SoftDeleted, Base):
    """Members who work together; what a team owns survives it."""

    __tablename__ = "team"
    ID_PREFIX = ID_PREFIX

    name: Mapped[str]
    name_norm: Mapped[str]
    description: Mapped[str]

    @validates("name")
    def _normalize_name(self, _: str, name: str) -> str:
        self.name_norm = normalize(name)
        return name

    def delete(self, at: datetime) -> None:
        """Hide it; until it is purged it can be restored, with who was in it and what it owned."""
        self.deleted_at = at

    def restore(self) -> None:
        """Bring it back; its name may be taken by now, which the database refuses."""
        self.deleted_at = None


class TeamMember(TenantOwned, Base):
    """A member's place in a team; it ends with the team and with the membership."""

    __tablename__ = "team_member"
    ID_PREFIX = PLACE_PREFIX

    team_id: Mapped[str] = mapped_column(TypeID("tea"))
    member_id: Mapped[str] = mapped_column(TypeID("mem"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
