"""The invitation table."""

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Mapped, mapped_column, validates

from insula.core.ids import TypeID
from insula.core.listing import normalize
from insula.core.models import Base, TenantOwned, Timestamped, Versioned
from insula.core.tokens import credential_id

ID_PREFIX: Final = "inv"


class Invitation(TenantOwned, Timestamped, Versioned, Base):
    """An offer of membership to whoever reads a mailbox.

    A member answers for it: when they are gone, or may not grant the role any more, it lets nobody in.
    """

    __tablename__ = "invitation"
    ID_PREFIX = ID_PREFIX

    email: Mapped[str]
    email_norm: Mapped[str]
    role: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending")
    """As last written: nothing happens at the moment at which a pending invitation expires."""
    invited_by: Mapped[str | None] = mapped_column(TypeID("mem"))
    credential_id: Mapped[str] = mapped_column(TypeID("crd"), default=credential_id)
    sendings: Mapped[int] = mapped_column(default=1)
    expires_at: Mapped[datetime]

    @validates("email")
    def _normalize_email(self, _: str, email: str) -> str:
        self.email_norm = normalize(email)
        return email

    def open_at(self, at: datetime) -> bool:
        """Whether its time is not over, and nobody has closed it."""
        return self.status == "pending" and at < self.expires_at

    def resend(self, sender: str | None, until: datetime) -> None:
        """Another letter with another token; the sender answers for it from now on."""
        self.invited_by, self.expires_at = sender, until
        self.sendings += 1
