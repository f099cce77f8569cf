"""Who operates the installation: people who see and decide about its jobs, whatever organization these belong to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg

from insula.core.ids import new_uuid, to_text
from insula.core.listing import normalize
from insula.core.mendable import Mendable
from insula.core.reach import reaching

_ABLE: Final = """
SELECT id FROM app."user" WHERE email_norm = $1 AND email_verified_at IS NOT NULL AND disabled_at IS NULL
"""
_ANYBODY: Final = 'SELECT id FROM app."user" WHERE email_norm = $1'
_ADD: Final = "INSERT INTO app.operator (user_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING user_id"
_REMOVE: Final = "DELETE FROM app.operator WHERE user_id = $1 RETURNING user_id"
_NOTE: Final = """
INSERT INTO app.operator_action (id, action, target, context) VALUES ($1, $2, $3, '{"by": "insula operator"}')
"""
_LIST: Final = """
SELECT u.email, u.name FROM app.operator AS o JOIN app."user" AS u ON u.id = o.user_id ORDER BY u.email_norm
"""


class NobodyThere(Mendable):
    """No account goes with the address."""


class NoOperator(Mendable):
    """Who should operate no more never did: perhaps another was meant."""


async def add_operator(owner_url: str, email: str) -> bool:
    """Let somebody operate; False when they do already. Raises NobodyThere and Unreachable."""
    async with _changing(owner_url) as owner:
        person = await owner.fetchval(_ABLE, normalize(email))
        if person is None:
            raise NobodyThere(f"nobody with the address {email} has an account that is verified and not disabled")
        return await _noted(owner, _ADD, person, "operator.added")


async def remove_operator(owner_url: str, email: str) -> None:
    """Let somebody operate no more, also whose account is disabled. Raises NoOperator and Unreachable."""
    async with _changing(owner_url) as owner:
        person = await owner.fetchval(_ANYBODY, normalize(email))
        if not await _noted(owner, _REMOVE, person, "operator.removed"):
            raise NoOperator(f"{email} is no operator: nothing was changed.")


async def list_operators(owner_url: str) -> list[tuple[str, str]]:
    """Everybody's address and name. Raises Unreachable."""
    with reaching(owner_url):
        owner = await asyncpg.connect(owner_url)
    try:
        return [(row["email"], row["name"]) for row in await owner.fetch(_LIST)]
    finally:
        await owner.close()


@asynccontextmanager
async def _changing(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    with reaching(owner_url):
        owner = await asyncpg.connect(owner_url)
    try:
        async with owner.transaction():
            yield owner
    finally:
        await owner.close()


async def _noted(owner: asyncpg.Connection, statement: str, person: UUID | None, action: str) -> bool:
    """The record says to whom it was done, and of nobody that they did it: whoever runs the command has no account."""
    if person is None or await owner.fetchval(statement, person) is None:
        return False
    await owner.execute(_NOTE, new_uuid(), action, to_text("usr", person))
    return True
