"""Whoever had to wait for others goes through the door once more: what they may do can have changed meanwhile."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

from insula.core import errors
from insula.core.db import Transaction

ENTER: Final = "SELECT * FROM app.enter($1, $2)"
ENTER_PLATFORM: Final = "SELECT * FROM app.enter_platform($1)"
WAITED_SECONDS: Final = 0.1
"""Longer than a statement takes, and so for somebody else's change."""

_RIGHTS: Final = ("verdict", "membership_id", "role", "scope")


def asking_again(
    transaction: Transaction, secret: bytes, organization: UUID | None, found: Any, *, operator: bool
) -> Callable[[], Awaitable[None]]:
    """What asks the door anew where its answer, ``found``, is older than WAITED_SECONDS. Raises Overtaken where it no
    longer says the same.
    """
    statement, binds = (ENTER_PLATFORM, (secret,)) if operator else (ENTER, (secret, organization))
    asked = time.monotonic()

    async def ask() -> None:
        nonlocal asked
        if time.monotonic() - asked <= WAITED_SECONDS:
            return
        now = await transaction.driver.fetchrow(statement, *binds)
        if any(now.get(right) != found.get(right) for right in _RIGHTS):
            raise errors.Overtaken
        asked = time.monotonic()

    return ask
