"""The demo, planted into a database of its own."""

import asyncpg
import msgspec

from insula.seed import ORGANIZATIONS, PASSWORD, plant
from insula.settings import Settings
from tests.canaries import WATCH
from tests.conftest import clone, urls_of


async def test_the_demo_is_the_same_under_the_tightest_limits(
    addresses: dict[str, str], database: str, redis_url: str, settings: Settings
) -> None:
    """They are for what is done with it afterwards."""
    WATCH.shown(PASSWORD)
    name = f"{database}_seed"
    await clone(addresses["admin"], name)
    names = [field for field in Settings.__struct_fields__ if field.startswith(("limit_", "rate_", "request_"))]
    assert {"limit_projects", "rate_per_minute", "limit_invitations_per_day"} <= set(names)
    owner = urls_of(addresses["admin"], name)
    tight = msgspec.structs.replace(settings, **owner, redis_url=redis_url, **dict.fromkeys(names, 1))
    assert await plant(tight)
    assert not await plant(tight), "it is there already"
    superuser = await asyncpg.connect(addresses["admin"], database=name)
    try:
        for table, each in (("project", "projects"), ("team", "teams")):
            planted = await superuser.fetchval(f"SELECT count(*) FROM app.{table}")
            assert planted == sum(len(details[each]) for details in ORGANIZATIONS.values())
    finally:
        await superuser.close()
