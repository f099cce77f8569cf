"""What may cross the process boundary: requests, answers and tasks."""

from typing import ClassVar

import msgspec


class Write(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body. Unknown fields are refused: silence would hide a typo, and mass assignment."""


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A PATCH body (RFC 7396): fields left out stay as they are; declare each as ``T | UnsetType = UNSET``."""

    def changes(self) -> dict[str, object]:
        """The fields the caller sent."""
        return {
            name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not msgspec.UNSET
        }


class Read(msgspec.Struct, frozen=True):
    """An answer."""


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work for later, carried by the outbox. It holds ids only: neither secrets nor personal data wait in queues."""

    NAME: ClassVar[str]
    """Stable across releases: rows in the outbox outlive the code that wrote them."""
    MAX_FAILURES: ClassVar[int] = 10
    """After so many failures of the handler the job is a dead letter."""
