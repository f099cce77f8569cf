"""The user table: people, across all organizations."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from insula.core.ids import TypeID
from insula.core.models import Base, Timestamped, Versioned

ID_PREFIX = "usr"
SESSION_PREFIX = "crd"
"""A session is a credential, and events name it by the same id."""


class User(Timestamped, Versioned, Base):
    """A person who can sign in. What an organization sees of them is their membership's profile, not this."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(TypeID(ID_PREFIX), primary_key=True)
    email: Mapped[str]
    email_norm: Mapped[str] = mapped_column(deferred=True)
    """For doors; requests may not read it."""
    name: Mapped[str]
    email_verified_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
