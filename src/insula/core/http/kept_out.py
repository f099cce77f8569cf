"""Members whom the door keeps out: their organization's record says that they tried."""

from typing import Any, Final
from uuid import UUID

import msgspec

from insula.core.db import Transaction
from insula.core.events import AccessDenied
from insula.core.lately import LATELY

REASONS: Final = frozenset({"member_suspended", "organization_suspended"})
"""Verdicts of the door about people who belong there."""

_RECORD: Final = "SELECT app.record_kept_out($1, $2, $3, $4, $5::text::jsonb)"


async def record_kept_out(
    transaction: Transaction, secret: bytes, organization: UUID | None, found: Any, to: Any
) -> None:
    """Write and commit it, once in a while: ``found`` is what the door said, ``to`` the route's handler."""
    permission = getattr(to.opt.get("permission"), "name", "")
    what = (organization, found["user_id"], found["verdict"], permission)
    if LATELY.said(what, AccessDenied.QUIET_SECONDS):
        return
    facts = msgspec.json.encode(transaction.facts).decode()
    await transaction.driver.execute(_RECORD, secret, organization, permission, str(to.handler_name), facts)
    await transaction.commit()
    LATELY.say(what)
