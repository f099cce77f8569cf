"""Reads on a standby: what it may answer, and that it never decides who comes in."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from litestar import Litestar

from insula.app import create_litestar
from insula.core import metrics, replica
from insula.core.http.access_log import AccessLog
from insula.core.http.door import STALE_OK
from insula.core.http.guard import declared_routes
from insula.core.ids import new_id, to_uuid
from insula.rotation import rotate_door_key
from tests.conftest import address, running
from tests.factories import Member, World, settings_for
from tests.isolation.hostile.contexts import FORGED_CONTEXTS
from tests.isolation.pgbouncer import PgBouncer
from tests.isolation.standby import DATABASE, Pair

COMPONENT = Path(__file__).parents[2] / "k8s" / "components" / "replicas" / "kustomization.yaml"

_number = itertools.count()


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    folder = Path(tmp_path_factory.mktemp("pair"))
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o711)  # where Postgres runs as nobody, it must be able to enter
    servers = Pair(folder)
    await servers.start()
    yield servers
    servers.stop()


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(replica, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(replica, "_REST_SECONDS", 0.1)
    yield


@pytest.fixture
async def app(pair: Pair, redis_url: str, beats: None) -> AsyncIterator[Litestar]:
    """The program with a replica."""
    settings = settings_for(
        database_url=pair.url("app_rw"),
        replica_database_url=pair.url("app_rw", standby=True),
        identity_database_url=pair.url("app_identity"),
        platform_database_url=pair.url("app_platform"),
        redis_url=redis_url,
    )
    litestar = create_litestar(settings)
    async with running(litestar):
        yield litestar


@pytest.fixture
async def superuser(pair: Pair) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(pair.primary.dsn("insula"))
    yield connection
    await connection.close()


@pytest.fixture
def world(app: Litestar, superuser: asyncpg.Connection) -> World:
    return World(
        AccessLog(app),
        settings_for(database_url="", redis_url="", identity_database_url="", platform_database_url=""),
        superuser,
    )


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


@pytest.fixture
async def granted(pair: Pair, world: World, app: Litestar) -> AsyncIterator[tuple[Member, bytes, asyncpg.Connection]]:
    """A grant, and a connection as app_rw to the standby."""
    owner = await world.owner()
    primary = await asyncpg.connect(pair.url("app_rw"))
    found = await primary.fetchrow(
        'SELECT verdict, "grant" FROM app.enter_for_replica($1, $2)',
        world.digest(owner.person.token),
        to_uuid("org", owner.organization_id),
    )
    await primary.close()
    assert found["verdict"] == "admitted"
    await pair.caught_up()
    standby = await asyncpg.connect(pair.url("app_rw", standby=True))
    yield owner, found["grant"], standby
    await standby.close()


ENTER = "SELECT app.enter_by_grant($1, '0/1')"


@pytest.mark.attack(15)
async def test_only_a_grant_as_it_was_given_lets_in_and_only_for_five_seconds(
    granted: tuple[Member, bytes, asyncpg.Connection], pair: Pair
) -> None:
    _, grant, standby = granted
    assert await standby.fetchval(ENTER, grant) == "admitted"
    for forged in (
        bytes(72),
        b"",
        None,
        grant[:-1],
        grant + b"\0",
        *(grant[:place] + bytes([grant[place] ^ 1]) + grant[place + 1 :] for place in range(72)),
    ):
        assert await standby.fetchval(ENTER, forged) == "refused"
    assert await standby.fetchval("SELECT app.enter_by_grant($1, 'FFFFFFFF/0')", grant) == "behind"
    assert await standby.fetchval("SELECT app.enter_by_grant($1, NULL)", grant) == "behind"
    primary = await asyncpg.connect(pair.url("app_rw"))
    assert await primary.fetchval(ENTER, grant) == "primary"
    await primary.close()
    await asyncio.sleep(5.2)
    assert await standby.fetchval(ENTER, grant) == "refused"


@pytest.mark.attack(15)
async def test_a_replica_lets_nobody_in_by_a_credential(
    granted: tuple[Member, bytes, asyncpg.Connection], world: World
) -> None:
    owner, _, standby = granted
    for organization in (to_uuid("org", owner.organization_id), None):
        for door in ("enter", "enter_for_replica"):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="lets nobody in"):
                await standby.fetchrow(
                    f"SELECT * FROM app.{door}($1, $2)", world.digest(owner.person.token), organization
                )


@pytest.mark.attack(15)
async def test_row_security_holds_on_the_replica(
    granted: tuple[Member, bytes, asyncpg.Connection], world: World, pair: Pair, superuser: asyncpg.Connection
) -> None:
    owner, grant, standby = granted
    other = await world.owner()
    mine, theirs = await plant(superuser, owner), await plant(superuser, other)
    await pair.caught_up()
    ids = {"b": str(to_uuid("org", other.organization_id)), "b_user": str(to_uuid("usr", other.person.id))}
    for statements in ([], *FORGED_CONTEXTS.values()):
        transaction = standby.transaction()
        await transaction.start()
        try:
            await standby.fetchval(ENTER, grant)
            for statement in statements:
                await standby.execute(statement.replace("{b}", ids["b"]).replace("{b_user}", ids["b_user"]))
            found = {row["name"] for row in await standby.fetch("SELECT name FROM app.project")}
        except asyncpg.PostgresError:
            found = set()
        finally:
            await transaction.rollback()
        assert theirs not in found
        assert found <= {mine}
    assert await standby.fetch("SELECT name FROM app.project") == [], "outside of a transaction that was let in"


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


def waits() -> dict[str, str]:
    """How long the component's pooler lets wait."""
    patches = yaml.safe_load(COMPONENT.read_text(encoding="utf-8"))["patches"]
    (patch,) = [yaml.safe_load(each["patch"]) for each in patches if each["target"]["kind"] == "Pooler"]
    parameters = {
        change["path"].rpartition("/")[2]: change["value"] for change in patch if "/parameters/" in change["path"]
    }
    return {name: parameters[name] for name in ("query_wait_timeout", "server_connect_timeout", "server_login_retry")}


@asynccontextmanager
async def behind_a_pooler(
    pair: Pair, redis_url: str, superuser: asyncpg.Connection, folder: Path
) -> AsyncIterator[World]:
    """The program, which finds its standby through PgBouncer in transaction mode, with one connection to it for all."""
    with PgBouncer(folder, pair.standby.dsn(), **waits()) as bouncer:
        settings = settings_for(
            database_url=pair.url("app_rw"),
            replica_database_url=address(bouncer.address, "app_rw", DATABASE),
            identity_database_url=pair.url("app_identity"),
            platform_database_url=pair.url("app_platform"),
            redis_url=redis_url,
            pgbouncer=bouncer.old,
        )
        litestar = create_litestar(settings)
        async with running(litestar):
            await asyncio.sleep(0.3)
            yield World(AccessLog(litestar), settings, superuser)


@pytest.mark.peers
async def test_through_a_pooler_two_organizations_read_on_one_connection_and_each_its_own(
    pair: Pair, redis_url: str, beats: None, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    async with behind_a_pooler(pair, redis_url, superuser, tmp_path) as world:
        owners = [await world.owner() for _ in range(2)]
        planted = [await plant(superuser, owner) for owner in owners]
        await pair.caught_up()
        before = reads("admitted")
        found = await asyncio.gather(*(names(owners[turn % 2]) for turn in range(40)))
        assert found == [[planted[turn % 2]] for turn in range(40)]
        assert reads("admitted") == before + 40
        assert await pair.on_standby("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_rw'") == 1


@pytest.mark.peers
async def test_behind_a_pooler_too_the_primary_answers_while_the_standby_is_away(
    pair: Pair, redis_url: str, beats: None, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    async with behind_a_pooler(pair, redis_url, superuser, tmp_path) as world:
        owner = await world.owner()
        name = await plant(superuser, owner)
        await pair.caught_up()
        assert await names(owner) == [name]
        before, took = reads("admitted"), []
        pair.standby.stop()
        try:
            for _ in range(10):
                begun = time.monotonic()
                assert await names(owner) == [name]
                took.append(time.monotonic() - begun)
                await asyncio.sleep(0.2)  # tries it again
            assert reads("admitted") == before
            assert max(took) < 8, "as long as deploy/pgbouncer.ini would let it wait"
        finally:
            pair.standby.start()
        await pair.caught_up()
        async with asyncio.timeout(15):  # the pooler looks again after server_login_retry
            while reads("admitted") == before:
                await asyncio.sleep(0.3)
                assert await names(owner) == [name]
