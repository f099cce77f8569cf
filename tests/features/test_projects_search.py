"""Every list of projects is an index scan under row security."""

import itertools
import re

import pytest

from insula.core.db import Database
from insula.core.ids import new_id, to_uuid
from insula.features.projects.repository import PROJECTS
from insula.settings import Settings
from tests.factories import World

SORTS = [f"{sign}{name}" for name in PROJECTS.sorts for sign in ("", "-")]


@pytest.fixture(scope="module")
async def plenty(world: World) -> str:
    """A session in an organization of 3,000 projects, beside another of as many."""
    owner, other = await world.owner(), await world.owner()
    for member in (owner, other):
        rows = [(to_uuid("prj", new_id("prj")), f"project {n:05}", f"P{n}") for n in range(3000)]
        await world.superuser.execute(
            "INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)"
            " SELECT $1, r.id, r.name, r.name, r.key, 'active', '{}', now(), now(), 1 FROM"
            " unnest($2::uuid[], $3::text[], $4::text[]) AS r (id, name, key)",
            to_uuid("org", member.organization_id),
            *(list(column) for column in zip(*rows, strict=True)),
        )
    await world.superuser.execute("ANALYZE app.project")
    return f"{owner.person.token} {owner.organization_id}"


@pytest.mark.parametrize(("sort", "searching"), list(itertools.product(SORTS, [False, True])))
async def test_no_list_of_projects_reads_the_table_from_end_to_end(
    plenty: str, settings: Settings, world: World, sort: str, searching: bool
) -> None:
    token, organization = plenty.split()
    active = frozenset({"name_prefix"}) if searching else frozenset()
    query = PROJECTS._query(sort, active, False, 21)
    binds = {
        **({"name_prefix": "project 0042", "name_prefix_end": "project 0042\U0010ffff"} if searching else {}),
    }
    database = await Database(settings.database_url, pool_size=1).open()
    try:
        async with database.transaction(read_only=True) as db:
            verdict = await db.driver.fetchval(
                "SELECT verdict FROM app.enter($1, $2)", world.digest(token), to_uuid("org", organization)
            )
            assert verdict == "admitted"
            plan = "\n".join(row[0] for row in await db.driver.fetch(f"EXPLAIN {query.sql}", *query._values(binds)))
    finally:
        await database.close()
    assert re.search(r"Index (Only )?Scan", plan), plan
    assert "Seq Scan" not in plan, plan
    if searching and sort.lstrip("-") == "name":
        assert "name_norm" in re.search(r"Index Cond: (.*)", plan)[1], plan  # type: ignore[index]
