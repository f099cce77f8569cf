"""The door of the database that a request comes in by, operators' or everybody's, and where the request came from."""

from typing import Any, Final, NamedTuple
from uuid import UUID

from insula.core.permissions import Facts

_ENTER: Final = "SELECT * FROM app.enter($1, $2)"
_ENTER_ONCE: Final = "SELECT * FROM app.enter_once($1, $2, $3)"
_ENTER_FOR_REPLICA: Final = "SELECT * FROM app.enter_for_replica($1, $2)"
_ENTER_PLATFORM: Final = "SELECT * FROM app.enter_platform($1)"
_ENTER_PLATFORM_ONCE: Final = "SELECT * FROM app.enter_platform_once($1, $2)"


class Entrance(NamedTuple):
    """What a request shows: the hash of its credential and, where it is one of an organization, which."""

    secret: bytes
    organization: UUID | None
    operator: bool

    def door(self) -> tuple[str, tuple[Any, ...]]:
        """The statement and its binds; the others say what it says, and more."""
        if self.operator:
            return _ENTER_PLATFORM, (self.secret,)
        return _ENTER, (self.secret, self.organization)

    def once(self, name: bytes) -> tuple[str, tuple[Any, ...]]:
        """Which looks for the answer of that name as well."""
        if self.operator:
            return _ENTER_PLATFORM_ONCE, (self.secret, name)
        return _ENTER_ONCE, (self.secret, self.organization, name)

    def for_replica(self) -> tuple[str, tuple[Any, ...]]:
        """Which signs a grant for a replica as well."""
        return _ENTER_FOR_REPLICA, (self.secret, self.organization)


def facts_of(scope: Any) -> Facts:
    """Where a request came from, as the outer middleware found out."""
    state = scope["state"]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    return Facts(
        request_id=state.get("request_id", ""),
        ip=state.get("client_address"),
        user_agent=agent.decode("latin-1")[:400] or None,
        trace_id=state.get("trace_id"),
    )
