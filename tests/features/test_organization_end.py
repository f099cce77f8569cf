"""The end of an organization: deleted, restored in time, or purged."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis

from insula.core import clock
from insula.core.db import Database
from insula.core.gauges import Gauges
from insula.core.ids import new_id, to_text, to_uuid
from insula.core.pace import Pace
from insula.core.queue import Queue
from insula.core.upkeep import Upkeep
from insula.features import organizations
from insula.features.organizations.jobs import PURGE
from insula.settings import Settings
from tests.factories import Member, World
from tests.rows import stock
from tests.waits import somebody_waits


async def test_a_deleted_organization_is_gone_for_everybody_until_an_owner_restores_it(
    world: World, superuser: asyncpg.Connection, settings: Settings
) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    await owner.client.post(owner.url("/projects"), json={"name": "Kept", "key": "KEPT"})
    assert (await admin.client.delete(owner.url(""), headers={"if-match": "*"})).status_code == 403
    assert (await owner.client.delete(owner.url(""), headers={"if-match": '"9"'})).status_code == 412
    assert (await owner.client.delete(owner.url(""), headers={"if-match": '"1"'})).status_code == 204
    for member in (owner, admin):
        for path in ("", "/members", "/members/me", "/projects", "/events", "/access", "/roles"):
            assert (await member.client.get(owner.url(path))).status_code == 404, path
        mine = (await member.client.get("/v1/me/organizations")).json()["data"]
        assert [(row["id"], row["status"]) for row in mine] == [(owner.organization_id, "deleted")]
        assert mine[0]["restorable_until"] is not None
    for path, body in (("/departure", None), ("/projects", {"name": "X", "key": "XX"})):
        assert (await owner.client.post(owner.url(path), json=body)).status_code == 404
    stranger = await world.owner()
    assert (await stranger.client.post(owner.url("/restoration"))).status_code == 404
    assert (await admin.client.post(owner.url("/restoration"))).status_code == 403
    restored = await owner.client.post(owner.url("/restoration"))
    assert restored.status_code == 200, restored.text
    assert restored.json()["id"] == owner.organization_id
    assert (await admin.client.get(owner.url("/projects"))).json()["data"][0]["name"] == "Kept"
    again = await owner.client.post(owner.url("/restoration"))
    assert (again.status_code, again.json()["code"]) == (409, "not_deleted")
    recorded = await events_of(superuser, owner.organization_id)
    assert [name for name in recorded if name.startswith("organization.")] == [
        "organization.deleted",
        "organization.restored",
    ]


@pytest.mark.parametrize("ahead", [-2, 2])
async def test_the_database_s_clock_alone_says_when_the_window_is_over(
    world: World, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    owner = await world.owner()
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(days=100 * ahead))
    assert (await owner.client.delete(owner.url(""), headers={"if-match": "*"})).status_code == 204
    tenant = to_uuid("org", owner.organization_id)
    left = await superuser.fetchval("SELECT restorable_until - now() FROM app.organization WHERE id = $1", tenant)
    assert timedelta(days=29) < left < timedelta(days=31)
    assert (await owner.client.post(owner.url("/restoration"))).status_code == 200


async def test_who_restores_an_organization_can_learn_its_tag(world: World) -> None:
    owner = await world.owner()
    await owner.client.delete(owner.url(""), headers={"if-match": "*"})
    (mine,) = (await owner.client.get("/v1/me/organizations")).json()["data"]
    stale, current = (f'"{mine["version"] + step}"' for step in (-1, 0))
    assert (await owner.client.post(owner.url("/restoration"), headers={"if-match": stale})).status_code == 412
    restored = await owner.client.post(owner.url("/restoration"), headers={"if-match": current})
    assert restored.status_code == 200, restored.text


async def test_after_its_window_an_organization_cannot_be_restored(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    await delete_and_let_the_window_pass(owner, superuser)
    refused = await owner.client.post(owner.url("/restoration"))
    assert (refused.status_code, refused.json()["code"]) == (409, "restore_window_over")


async def test_who_waits_for_a_purge_until_the_window_is_over_restores_no_remains(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    tenant = to_uuid("org", owner.organization_id)
    assert (await owner.client.delete(owner.url(""), headers={"if-match": "*"})).status_code == 204
    await superuser.execute("UPDATE app.organization SET restorable_until = now() + '2 s' WHERE id = $1", tenant)
    async with superuser.transaction():
        await superuser.execute("SELECT FROM app.organization WHERE id = $1 FOR UPDATE", tenant)
        pending = asyncio.create_task(owner.client.post(owner.url("/restoration")))
        await somebody_waits(superuser)
        over = "SELECT pg_sleep(extract(epoch FROM restorable_until - clock_timestamp())) FROM app.organization WHERE id = $1"
        await superuser.execute(over, tenant)
    refused = await pending
    assert (refused.status_code, refused.json()["code"]) == (409, "restore_window_over")


@pytest.mark.attack(14)
async def test_a_purged_organization_leaves_nothing_that_a_recycled_id_could_revive(
    world: World, superuser: asyncpg.Connection, settings: Settings
) -> None:
    owner, neighbour = await world.owner(), await world.owner()
    member = await world.member(owner.organization_id, "admin")
    kept = {id(each): await fill(each, superuser) for each in (owner, neighbour)}
    slug = (await owner.client.get(owner.url(""))).json()["slug"]
    await delete_and_let_the_window_pass(owner, superuser)
    await purge(settings)

    assert await rows_of(superuser, owner.organization_id) == {"app.event": 1}
    assert await events_of(superuser, owner.organization_id) == ["organization.purged"]
    assert await rows_of(superuser, neighbour.organization_id) == kept[id(neighbour)]
    for person in (owner.person, member.person):
        assert (await world.client(person.token).get("/v1/me/organizations")).json()["data"] == []
        assert await superuser.fetchval('SELECT count(*) FROM app."user" WHERE id = $1', to_uuid("usr", person.id))

    heir, tenant = await world.person(), to_uuid("org", owner.organization_id)
    await superuser.execute("INSERT INTO app.organization_slug VALUES ($1, $2)", slug, tenant)
    await superuser.execute(
        "INSERT INTO app.organization (tenant_id, id, name, slug) VALUES ($1, $1, 'Recycled', $2)", tenant, slug
    )
    heir_member = await world.member(owner.organization_id, "owner", heir)
    for former in (owner, member):
        for path in ("", "/members", "/projects", "/events"):
            assert (await former.client.get(owner.url(path))).status_code == 404
        assert (await former.client.post(owner.url("/restoration"))).status_code == 404
    assert (await heir_member.client.get(owner.url("/projects"))).json()["data"] == []
    assert len((await heir_member.client.get(owner.url("/members"))).json()["data"]) == 1


async def test_a_purge_goes_on_where_the_last_run_stopped(
    world: World, superuser: asyncpg.Connection, settings: Settings
) -> None:
    owner = await world.owner()
    await superuser.execute(
        "INSERT INTO app.project (tenant_id, id, name, name_norm, key, status, metadata, created_at, updated_at, version)"
        " SELECT $1, gen_random_uuid(), 'P', 'p', 'K' || i, 'active', '{}', now(), now(), 1 FROM generate_series(1, 25) i",
        to_uuid("org", owner.organization_id),
    )
    await delete_and_let_the_window_pass(owner, superuser)
    runs = 1
    while await purge(settings, batch=10) == 10:
        runs += 1
        assert runs < 20
    assert runs >= 3
    assert await rows_of(superuser, owner.organization_id) == {"app.event": 1}


async def test_what_is_not_due_is_not_purged(world: World, superuser: asyncpg.Connection, settings: Settings) -> None:
    living, deleted = await world.owner(), await world.owner()
    assert (await deleted.client.delete(deleted.url(""), headers={"if-match": "*"})).status_code == 204
    before = [await rows_of(superuser, each.organization_id) for each in (living, deleted)]
    await purge(settings)
    assert [await rows_of(superuser, each.organization_id) for each in (living, deleted)] == before
    assert (await deleted.client.post(deleted.url("/restoration"))).status_code == 200
    until = clock.now() - timedelta(seconds=1)
    await superuser.execute(  # a window that was never closed by a deletion purges nothing
        "UPDATE app.organization SET restorable_until = $2 WHERE id = $1", to_uuid("org", living.organization_id), until
    )
    await purge(settings)
    assert (await living.client.get(living.url(""))).status_code == 200


async def test_only_the_platform_may_purge(settings: Settings) -> None:
    connection = await asyncpg.connect(settings.database_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(PURGE.statement)
    finally:
        await connection.close()


async def test_the_purge_comes_round_with_the_other_chores(
    world: World, superuser: asyncpg.Connection, settings: Settings, redis_url: str
) -> None:
    owner = await world.owner()
    await delete_and_let_the_window_pass(owner, superuser)
    redis = Redis.from_url(redis_url)
    chore = msgspec.structs.replace(PURGE, name=new_id("purge"))  # this minute's own tick may be taken
    database = await Database(settings.platform_database_url, pool_size=1).open()
    try:
        await Upkeep(database, Queue(redis), [chore], Gauges(database, Pace(60), (), (), ()), lease_seconds=60).tick()
    finally:
        await database.close()
        await redis.aclose()
    assert await rows_of(superuser, owner.organization_id) == {"app.event": 1}
    assert PURGE in organizations.FEATURE.schedules


async def test_the_purges_event_has_an_id_of_its_time(
    world: World, superuser: asyncpg.Connection, settings: Settings
) -> None:
    owner = await world.owner()
    await delete_and_let_the_window_pass(owner, superuser)
    before = new_id("evt")
    await purge(settings)
    found = await superuser.fetchval(
        "SELECT id FROM app.event WHERE tenant_id = $1", to_uuid("org", owner.organization_id)
    )
    assert before[:12] <= to_text("evt", found)[:12] <= new_id("evt")[:12]
    assert found.version == 7


async def events_of(superuser: asyncpg.Connection, organization: str) -> list[str]:
    rows = await superuser.fetch(
        "SELECT type FROM app.event WHERE tenant_id = $1 ORDER BY id", to_uuid("org", organization)
    )
    return [row["type"] for row in rows]


async def delete_and_let_the_window_pass(owner: Member, superuser: asyncpg.Connection) -> None:
    assert (await owner.client.delete(owner.url(""), headers={"if-match": "*"})).status_code == 204
    await superuser.execute(
        "UPDATE app.organization SET deleted_at = now() - interval '31 days', restorable_until = now() - interval '1 day'"
        " WHERE id = $1",
        to_uuid("org", owner.organization_id),
    )


async def purge(settings: Settings, batch: int | None = None) -> int:
    statement = PURGE.statement if batch is None else f"SELECT purged FROM app.purge_organizations({batch})"
    connection = await asyncpg.connect(settings.platform_database_url)
    try:
        return int(await connection.fetchval(statement))
    finally:
        await connection.close()


async def fill(owner: Member, superuser: asyncpg.Connection) -> dict[str, int]:
    """Rows in every table that can hold one of an organization's; returns how many there are."""
    made = await owner.client.post(owner.url("/projects"), json={"name": "P", "key": "P1"})
    assert made.status_code == 201, made.text
    there = await rows_of(superuser, owner.organization_id)
    for table in sorted(set(await tables(superuser)) - there.keys()):
        await stock(superuser, table, to_uuid("org", owner.organization_id))
    counts = await rows_of(superuser, owner.organization_id)
    assert counts.keys() == set(await tables(superuser))
    return counts


async def tables(superuser: asyncpg.Connection) -> list[str]:
    rows: list[Any] = await superuser.fetch(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE a.attname = 'tenant_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND c.relnamespace = 'app'::regnamespace"
    )
    return [row["name"] for row in rows]


async def rows_of(superuser: asyncpg.Connection, organization: str) -> dict[str, int]:
    """How many rows an organization has, by table; tables without any are left out."""
    counts = {
        table: await superuser.fetchval(
            f"SELECT count(*) FROM {table} WHERE tenant_id = $1", to_uuid("org", organization)
        )
        for table in await tables(superuser)
    }
    return {table: count for table, count in counts.items() if count}
