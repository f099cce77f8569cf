"""A signed-in person's own row and sessions."""

from datetime import timedelta

import sqlalchemy as sa
from msgspec.structs import replace

from insula.core.db import Transaction
from insula.core.ids import TypeID, to_text, to_uuid
from insula.core.listing import Listing, Page, PageRequest
from insula.core.queries import Query, columns_of
from insula.core.repository import Repository
from insula.features.identity.models import SESSION_PREFIX, User
from insula.features.identity.schemas import MeRead, SessionRead


class UserRepository(Repository[User]):
    """One's own account, for changing it; row security hides all others."""

    model_type = User


_USERS = User.__table__.c

ME = Query(
    sa.select(*columns_of(User, MeRead)).where(_USERS.id == sa.bindparam("id", type_=_USERS.id.type)),
    MeRead,
)

# A function stands in for the table, which only doors may read; it knows whose sessions are meant.
_sessions = sa.func.app.my_sessions().table_valued(
    sa.column("id", TypeID(SESSION_PREFIX)),
    sa.column("user_agent", sa.Text),
    sa.column("ip", sa.Text),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("last_used_at", sa.DateTime(timezone=True)),
    sa.column("expires_at", sa.DateTime(timezone=True)),
    sa.column("idle_expires_at", sa.DateTime(timezone=True)),
    name="session",
)

SESSIONS = Listing(
    sa.select(_sessions, sa.false().label("current")),
    SessionRead,
    key=_sessions.c.id,
    sorts={"created_at": _sessions.c.id, "last_used_at": _sessions.c.last_used_at},
)


async def sessions_page(db: Transaction, request: PageRequest, current: str | None) -> Page[SessionRead]:
    """One's own live sessions, with the one marked that asks."""
    page = await SESSIONS.page(db, request)
    return Page([replace(row, current=row.id == current) for row in page.data], page.next_cursor)


async def revoke_session(db: Transaction, session_id: str) -> bool:
    """End one of one's own live sessions; False when there is no such."""
    revoked: bool = await db.driver.fetchval("SELECT app.revoke_my_session($1)", to_uuid(SESSION_PREFIX, session_id))
    return revoked


async def revoke_sessions(db: Transaction, spared: str | None) -> list[str]:
    """End all of one's own sessions, or all but one; returns which."""
    key = to_uuid(SESSION_PREFIX, spared) if spared else None
    revoked = await db.driver.fetch("SELECT app.revoke_my_sessions($1)", key)
    return [to_text(SESSION_PREFIX, row[0]) for row in revoked]


async def arm_link(db: Transaction, credential: str, digest: bytes, lifetime: timedelta) -> bool:
    """Make a mailed token worth something from now on; False when its purpose is gone."""
    armed: bool = await db.driver.fetchval(
        "SELECT app.arm_credential($1, $2, $3)", to_uuid(SESSION_PREFIX, credential), digest, lifetime
    )
    return armed
