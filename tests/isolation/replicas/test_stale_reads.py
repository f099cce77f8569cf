"""Reads on a replica: what it may answer, and when the primary does."""

import asyncio
from typing import Any

import asyncpg
import pytest
from litestar import Litestar

from insula.app import create_litestar
from insula.core import replica
from insula.core.http.access_log import AccessLog
from insula.core.http.door import STALE_OK
from insula.core.http.guard import declared_routes
from insula.core.ids import to_uuid
from insula.rotation import rotate_door_key
from tests.conftest import running
from tests.factories import World, settings_for
from tests.isolation.replicas.reading import beaten, names, plant, reads
from tests.isolation.standby import Pair


async def test_a_list_is_read_on_the_replica_while_it_is_fresh_enough_and_on_the_primary_when_not(
    app: Litestar, world: World, pair: Pair, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.owner()
    seen = await plant(superuser, owner)
    await pair.caught_up()
    await beaten(app)
    monkeypatch.setattr(replica, "STALE_SECONDS", 2.0)
    before = reads("admitted")
    async with pair.paused():
        unseen = await plant(superuser, owner)
        assert await names(owner) == [seen], "it answers as of before"
        assert reads("admitted") == before + 1
        await asyncio.sleep(2.5)
        assert await names(owner) == [unseen, seen], "more than STALE_SECONDS behind"
        assert reads("behind") >= 1
    await pair.caught_up()
    assert await names(owner) == [unseen, seen]
    assert reads("admitted") == before + 2


async def test_who_was_removed_is_out_at_once_also_where_the_replica_has_not_heard_of_it(
    app: Litestar, world: World, pair: Pair, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    await pair.caught_up()
    await beaten(app)
    async with pair.paused():
        assert await names(member) == []
        await superuser.execute(
            "DELETE FROM app.membership WHERE tenant_id = $1 AND id = $2",
            to_uuid("org", owner.organization_id),
            to_uuid("mem", member.membership_id),
        )
        assert (await member.client.get(member.url("/projects"))).status_code == 404
        await superuser.execute(
            "UPDATE app.credential SET revoked_at = now() WHERE hash = $1", world.digest(owner.person.token)
        )
        assert (await owner.client.get(owner.url("/projects"))).status_code == 401


async def test_whoever_changed_something_sees_it_at_once(app: Litestar, world: World, pair: Pair) -> None:
    owner = await world.owner()
    await pair.caught_up()
    await beaten(app)
    async with pair.paused():
        made = await owner.client.post(owner.url("/projects"), json={"name": "Mine", "key": "MINE"})
        assert made.status_code == 201
        assert await names(owner) == ["Mine"]
        assert (await owner.client.get(made.headers["location"])).json() == made.json()


async def test_without_the_replica_the_primary_answers_and_with_it_again_the_replica(
    app: Litestar, world: World, pair: Pair, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    name = await plant(superuser, owner)
    await pair.caught_up()
    await beaten(app)
    assert await names(owner) == [name]
    before = reads("admitted")
    pair.standby.stop()
    try:
        for _ in range(5):
            assert await names(owner) == [name]
        assert reads("admitted") == before
        assert reads("away") >= 1
    finally:
        pair.standby.start()
    await pair.caught_up()
    await asyncio.sleep(0.3)
    assert await names(owner) == [name]
    assert reads("admitted") == before + 1


async def test_a_read_that_the_replica_breaks_off_is_made_on_the_primary(
    app: Litestar, world: World, pair: Pair, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    names_of = [await plant(superuser, owner) for _ in range(3)]
    await pair.caught_up()
    await beaten(app)
    stop = asyncio.Event()

    async def break_off() -> None:
        while not stop.is_set():
            await pair.on_standby(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app_rw'"
            )

    breaking = asyncio.create_task(break_off())
    try:
        for found in await asyncio.gather(*(names(owner) for _ in range(60))):
            assert sorted(found) == sorted(names_of)
    finally:
        stop.set()
        await breaking


async def test_a_request_that_went_to_both_is_counted_once(
    app: Litestar, world: World, pair: Pair, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "STALE_SECONDS", 0.5)
    owner = await world.owner()
    await pair.caught_up()
    await beaten(app)

    async def left() -> int:
        answer = await owner.client.get(owner.url("/projects"))
        return int(answer.headers["ratelimit"].split("r=")[1].split(";")[0])

    async with pair.paused():
        await plant(superuser, owner)
        await asyncio.sleep(0.8)
        behind = reads("behind")
        first, second = await left(), await left()
        assert reads("behind") == behind + 2
    assert first - second <= 1


async def test_a_new_door_key_that_the_replica_has_not_heard_of_sends_reads_to_the_primary(
    app: Litestar, world: World, pair: Pair, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    name = await plant(superuser, owner)
    await pair.caught_up()
    await beaten(app)
    refused = reads("refused")
    async with pair.paused():
        await rotate_door_key(pair.url("app_migrator"))
        assert await names(owner) == [name]
        assert reads("refused") == refused + 1
    await pair.caught_up()
    assert await names(owner) == [name]
    assert reads("refused") == refused + 1


async def test_only_reads_that_leave_no_trace_may_be_stale(app: Litestar) -> None:
    marked = {f"{method} {path}": handler for method, path, handler in declared_routes(app) if STALE_OK in handler.opt}
    assert len(marked) > 8
    for name, handler in marked.items():
        assert name.startswith("GET /v1/organizations/{organization_id}"), name
        assert "permission" in handler.opt, name
        assert "record" not in handler.fn.__code__.co_names, name


async def test_a_database_that_is_no_standby_is_never_read(
    pair: Pair, app: Litestar, world: World, redis_url: str, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    name = await plant(superuser, owner)
    settings = settings_for(
        database_url=pair.url("app_rw"),
        replica_database_url=pair.url("app_rw"),
        identity_database_url=pair.url("app_identity"),
        platform_database_url=pair.url("app_platform"),
        redis_url=redis_url,
    )
    mistaken = create_litestar(settings)
    async with running(mistaken):
        await asyncio.sleep(0.3)
        primary = reads("primary")
        client: Any = World(AccessLog(mistaken), settings, superuser).client(owner.person.token)
        answer = await client.get(owner.url("/projects"))
        assert [row["name"] for row in answer.json()["data"]] == [name]
        assert reads("primary") == primary + 1
