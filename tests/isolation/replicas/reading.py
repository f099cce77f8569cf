"""Projects that no request made, and where the program reads them."""

import asyncio
import itertools

import asyncpg
from litestar import Litestar

from insula.core import metrics
from insula.core.ids import new_id, to_uuid
from tests.factories import Member

_number = itertools.count()


async def plant(superuser: asyncpg.Connection, member: Member) -> str:
    """A project that no request made, so that no event tells of it."""
    name = f"Planted {next(_number)}"
    await superuser.execute(
        "INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)"
        " VALUES ($1, $2, $3, lower($3), $4, 'active', '{}', now(), now(), 1)",
        to_uuid("org", member.organization_id),
        to_uuid("prj", new_id("prj")),
        name,
        f"P{next(_number)}",
    )
    return name


async def names(member: Member) -> list[str]:
    answer = await member.client.get(member.url("/projects"))
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["data"]]


def reads(outcome: str) -> float:
    return metrics.REPLICA_READS.labels(outcome)._value.get()


async def beaten(app: Litestar) -> None:
    """Wait until the program knows where the primary is."""
    await asyncio.sleep(0.3)
