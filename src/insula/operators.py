"""Who operates the installation: people who see and decide about its jobs, whatever organization these belong to."""

from typing import Final

import asyncpg

from insula.core.ids import new_uuid
from insula.core.listing import normalize
from insula.core.mendable import Mendable
from insula.core.reach import reaching

_PERSON: Final = """
SELECT id FROM app."user" WHERE email_norm = $1 AND email_verified_at IS NOT NULL AND disabled_at IS NULL
"""
_ADD: Final = "INSERT INTO app.operator (user_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING user_id"
_REMOVE: Final = "DELETE FROM app.operator WHERE user_id = $1 RETURNING user_id"
_NOTE: Final = """
INSERT INTO app.operator_action (id, user_id, action, target, context)
VALUES ($1, $2, $3, $4, '{"by": "insula operator"}')
"""
_LIST: Final = """
SELECT u.email, u.name FROM app.operator AS o JOIN app."user" AS u ON u.id = o.user_id ORDER BY u.email_norm
"""


class NobodyThere(Mendable):
    """No account goes with the address."""


async def add_operator(owner_url: str, email: str) -> bool:
    """Let somebody operate; False when they do already. Raises NobodyThere and Unreachable."""
    return await _change(owner_url, email, _ADD, "operator.added")


async def remove_operator(owner_url: str, email: str) -> bool:
    """Let somebody operate no more; False when they do not. Raises NobodyThere and Unreachable."""
    return await _change(owner_url, email, _REMOVE, "operator.removed")


async def list_operators(owner_url: str) -> list[tuple[str, str]]:
    """Everybody's address and name. Raises Unreachable."""
    with reaching(owner_url):
        owner = await asyncpg.connect(owner_url)
    try:
        return [(row["email"], row["name"]) for row in await owner.fetch(_LIST)]
    finally:
        await owner.close()


async def _change(owner_url: str, email: str, statement: str, action: str) -> bool:
    with reaching(owner_url):
        owner = await asyncpg.connect(owner_url)
    try:
        async with owner.transaction():
            person = await owner.fetchval(_PERSON, normalize(email))
            if person is None:
                raise NobodyThere(f"nobody with the address {email} has an account that is verified and not disabled")
            if await owner.fetchval(statement, person) is None:
                return False
            await owner.execute(_NOTE, new_uuid(), person, action, str(person))
            return True
    finally:
        await owner.close()
