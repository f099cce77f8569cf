"""Whoever had to wait for others goes through the door once more: what they may do can have changed meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

from insula.core import errors
from insula.core.db import Transaction

ENTER: Final = "SELECT * FROM app.enter($1, $2)"
_RIGHTS: Final = ("verdict", "membership_id", "role", "scope")


def asking_again(
    transaction: Transaction, secret: bytes, organization: UUID | None, found: Any
) -> Callable[[], Awaitable[None]]:
    """What asks the door anew. It raises Overtaken where the door no longer says what was ``found``."""

    async def ask() -> None:
        now = await transaction.driver.fetchrow(ENTER, secret, organization)
        if any(now[right] != found[right] for right in _RIGHTS):
            raise errors.Overtaken

    return ask
