"""Sessions as they begin: their secret, how long they last, what they remember of where they began."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from insula.core import clock, tokens
from insula.core.events import context
from insula.core.ids import to_uuid
from insula.core.keyring import Keyring
from insula.core.permissions import Facts
from insula.features.identity.models import SESSION_PREFIX
from insula.features.identity.schemas import MeRead, SessionStarted


class NewSession(msgspec.Struct, frozen=True):
    """A session that a door is about to open: the token is in here, the database gets its hash only."""

    token: str
    expires_at: datetime
    idle_expires_at: datetime
    binds: tuple[Any, ...]
    """What app.open_session takes after the person: id, hash, replaced hash, idle time, end, how many, facts."""

    def of(self, person: MeRead) -> SessionStarted:
        """What its person is told."""
        return SessionStarted(self.token, self.expires_at, self.idle_expires_at, person)


class SessionTerms(msgspec.Struct, frozen=True):
    """How long sessions last, and how many of them a person may have."""

    idle: timedelta
    lifetime: timedelta
    kept: int

    def begin(self, keyring: Keyring, facts: Facts, replaced: str | None = None) -> NewSession:
        """A session with a fresh token, for whoever ``facts`` describe; it ends the one whose token is ``replaced``."""
        credential = tokens.credential_id()
        token = tokens.mint("session", credential)
        now = clock.now()
        expires_at = now + self.lifetime
        binds = (
            to_uuid(SESSION_PREFIX, credential),
            keyring.digest(token),
            keyring.digest(replaced) if replaced else None,
            self.idle,
            expires_at,
            self.kept,
            recorded(facts),
        )
        return NewSession(token, expires_at, min(expires_at, now + self.idle), binds)


def recorded(facts: Facts) -> str:
    """Where a request came from, as doors take it for a person's record."""
    return msgspec.json.encode(context(facts)).decode()
