"""Whoever had to wait for others goes through the door once more: what they may do can have changed meanwhile."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from insula.core import errors
from insula.core.db import Transaction
from insula.core.http.entrance import Entrance

WAITED_SECONDS: Final = 0.1
"""Longer than a statement takes, and so for somebody else's change."""

_RIGHTS: Final = ("verdict", "membership_id", "role", "scope")


def asking_again(transaction: Transaction, entrance: Entrance, found: Any) -> Callable[[], Awaitable[None]]:
    """What asks the door anew where its answer, ``found``, is older than WAITED_SECONDS. Raises Overtaken where it no
    longer says the same.
    """
    statement, binds = entrance.door()
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
