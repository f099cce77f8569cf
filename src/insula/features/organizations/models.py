"""The tables of organizations and their members."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column, validates
from sqlalchemy.orm.attributes import set_committed_value

from insula.core import clock
from insula.core.ids import TypeID
from insula.core.listing import normalize
from insula.core.models import Base, SoftDeleted, TenantOwned, Timestamped, Versioned

ID_PREFIX = "org"
MEMBER_PREFIX = "mem"


class Organization(TenantOwned, Timestamped, Versioned, SoftDeleted, Base):
    """A customer of the product; everything else belongs to one. It is its own tenant."""

    __tablename__ = "organization"
    ID_PREFIX = ID_PREFIX

    name: Mapped[str]
    slug: Mapped[str]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata")
    restorable_until: Mapped[datetime | None]

    def delete(self, at: datetime, window: timedelta) -> None:
        """Close it for everybody; until the window is over an owner can reopen it."""
        self.deleted_at, self.restorable_until = at, at + window

    def restorable(self, at: datetime) -> bool:
        """Whether it is still time; afterwards the rows may be gone at any moment."""
        return self.restorable_until is not None and at < self.restorable_until

    def restore(self) -> None:
        """Reopen it as it was."""
        self.deleted_at = self.restorable_until = None

    def renamed(self, slug: str) -> None:
        """The door has written the slug; here only the version must follow."""
        set_committed_value(self, "slug", slug)
        self.updated_at = clock.now()


class Membership(TenantOwned, Timestamped, Versioned, Base):
    """A person in an organization: what they may do in it, and how it knows them."""

    __tablename__ = "membership"
    ID_PREFIX = MEMBER_PREFIX

    user_id: Mapped[str] = mapped_column(TypeID("usr"))
    role: Mapped[str]
    status: Mapped[str]
    name: Mapped[str]
    name_norm: Mapped[str]
    email: Mapped[str]
    email_norm: Mapped[str]

    @validates("name")
    def _normalize_name(self, _: str, name: str) -> str:
        self.name_norm = normalize(name)
        return name

    @property
    def leads(self) -> bool:
        """Whether this is an owner who can act."""
        return self.role == "owner" and self.status == "active"
