"""One caller takes all there is: bodies, pages, searches, the organization's share of the database."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import asyncpg
import httpx
import msgspec
import pytest
from litestar._parsers import parse_query_string

from insula.app import create_litestar
from insula.core.db import Database, Transaction
from insula.core.errors import RateLimited, Unavailable
from insula.core.http.access_log import AccessLog
from insula.core.http.room import Room
from insula.core.ids import to_uuid
from insula.settings import Settings
from tests import workshop
from tests.conftest import running
from tests.factories import Member, World

CAP = 1_048_576


@pytest.mark.attack(124)
async def test_a_body_without_end_is_refused_before_it_is_read(world: World) -> None:
    owner = await world.owner()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 20 * CAP:
            sent += 65_536
            yield b"x" * 65_536

    headers = {"content-type": "application/json"}
    answer = await owner.client.post(owner.url("/projects"), content=endless(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    announced = await owner.client.post(
        owner.url("/projects"), content=b"{}", headers={**headers, "content-length": str(1 << 30)}
    )
    assert announced.status_code == 413


@pytest.fixture
async def roomy(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    """An installation that takes larger bodies."""
    larger = msgspec.structs.replace(settings, request_max_bytes=CAP)
    app = create_litestar(larger)
    async with running(app):
        yield World(AccessLog(app), larger, superuser)


async def test_one_persons_unfinished_bodies_fill_a_part_of_the_room_for_bodies(roomy: World) -> None:
    owner, other = await roomy.owner(), await roomy.owner()
    go_on = asyncio.Event()

    async def unfinished() -> AsyncIterator[bytes]:
        for _ in range(16):
            yield b" " * 65_000
        await go_on.wait()
        yield b"{}"

    def upload(by: Member) -> asyncio.Task[httpx.Response]:
        headers = {"content-type": "application/json"}
        return asyncio.create_task(by.client.post(by.url("/projects"), content=unfinished(), headers=headers))

    uploads = [upload(owner) for _ in range(30)]
    try:
        refused, _ = await asyncio.wait(uploads, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert refused, "all of them wait, and what they sent is kept"
        held = upload(other)
        assert not (await asyncio.wait([held], timeout=0.5))[0], "it should be waited for"
    finally:
        go_on.set()
    answers = [answer.status_code for answer in await asyncio.gather(*uploads)]
    assert set(answers) == {400, 429}
    assert answers.count(400) * 16 * 65_000 < 20 * CAP
    first = refused.pop().result()
    assert first.headers["retry-after"] == "1"
    assert first.headers["ratelimit"].startswith('"bodies";r=0')
    assert (await held).status_code == 400
    assert (await upload(owner)).status_code == 400, "the room was not given back"


def test_all_bodies_together_fill_no_more_than_the_room_for_them() -> None:
    room = Room("bodies", CAP)
    with ExitStack() as bodies:
        for person in range(4):
            bodies.enter_context(room.of([str(person)]))(16 * CAP)
        with pytest.raises(Unavailable), room.of(["another"]) as take:
            take(1)
    with room.of(["another"]) as take:
        take(16 * CAP)


@pytest.mark.parametrize("holders", ["usr_{0} org_1", "usr_1 org_{0}"])
def test_neither_many_members_nor_many_organizations_hold_more_than_one_share(holders: str) -> None:
    room = Room("answers", CAP)
    with ExitStack() as answers:
        for number in range(16):
            answers.enter_context(room.of(holders.format(number).split()))(CAP)
        with pytest.raises(RateLimited), room.of(holders.format("another").split()) as take:
            take(1)
        with room.of(["usr_another", "org_another"]) as take:
            take(16 * CAP)
    with room.of(["usr_1", "org_1"]) as take:
        take(16 * CAP)


@pytest.mark.parametrize("path", ["/v1/auth/sign-in", "/v1/auth/sign-up", "/v1/auth/invitations/preview"])
async def test_strangers_send_little(world: World, path: str) -> None:
    pieces = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pieces
        while pieces < 100:
            pieces += 1
            yield b'{"email":[' + b"{}," * 1000

    headers = {"content-type": "application/json"}
    answer = await world.client().post(path, content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert pieces < 10
    large = {"email": "ada@example.com", "password": "\U0001f511" * 256, "filler": "x" * 16_384}
    assert (await world.client().post(path, json=large)).status_code == 413
    del large["filler"]
    assert (await world.client().post(path, json=large)).status_code in {400, 401}


@pytest.mark.attack(126)
@pytest.mark.parametrize(
    "query", ["limit=1000000000", "limit=101", "limit=0", "limit=-1", "offset=1000000000", "page=2"]
)
async def test_no_page_is_larger_than_a_page(world: World, query: str) -> None:
    owner = await world.owner()
    assert (await owner.client.get(owner.url(f"/projects?{query}"))).status_code == 400


@pytest.mark.attack(127)
@pytest.mark.parametrize("search", ["%", "%%%%", "_", "a%", "\\", "%" * 1000, "\U0010ffff", ".*"])
async def test_a_search_is_literal_however_it_is_spelt(world: World, search: str) -> None:
    owner = await world.owner()
    await owner.client.post(owner.url("/projects"), json={"name": "Anything", "key": "ANY"})
    answer = await owner.client.get(owner.url("/projects"), params={"name_prefix": search})
    assert answer.status_code in {200, 400}
    assert answer.status_code == 400 or answer.json()["data"] == []


@pytest.mark.attack(127)
async def test_nothing_remembers_targets_that_are_too_long_to_be_ours(world: World) -> None:
    """The framework keeps the last thousand of what it was asked for, and strangers ask for what they like."""
    owner = await world.owner()
    routed = world.app._app.asgi_router.handle_routing
    assert (await owner.client.get(owner.url(f"/projects/{'x' * 2000}"))).status_code == 404
    paths, queries = routed.cache_info().currsize, parse_query_string.cache_info().currsize
    for number in range(20):
        long = "\U0001f511" + "x" * 20_000 + str(number)
        for answer in (
            await world.client().get(f"/{long}"),
            await owner.client.get(f"/v1/organizations/{long}/projects"),
            await owner.client.request("M" * 1000 + str(number), owner.url("/projects")),
        ):
            assert answer.status_code == 404, answer.text
            assert answer.headers["x-content-type-options"] == "nosniff"
        many = "&".join(f"{letter}{number}" for letter in "abcdefghijklmnopqrstuvwxyz" for _ in range(2))
        for refused in (
            await owner.client.get(owner.url("/projects"), params={"name_prefix": long}),
            await owner.client.get(owner.url(f"/projects?{many}")),
            await world.client().get(f"/livez?{many}"),
        ):
            assert refused.status_code == 400
            told = {"pointer": "query", "code": "too_long", "detail": "at most 8192 bytes and 32 parameters"}
            assert refused.json()["errors"] == [told]
    assert routed.cache_info().currsize <= paths + 2  # nowhere, and /livez
    assert parse_query_string.cache_info().currsize == queries


async def test_who_is_refused_is_remembered_by_ids_and_not_by_what_they_sent(settings: Settings, world: World) -> None:
    async with workshop.opened(settings, world.superuser, rate_per_minute=2) as shop:
        owner = await shop.owner()
        asked = [f"/v1/organizations/made-up-{number}/projects" for number in range(8)]
        answers = [(await owner.client.get(path)).status_code for path in asked]
        assert answers[:2] == [404, 404]
        assert set(answers[2:]) == {429}


SEARCHES = (
    "%",
    "%%%%",
    "%" * 200,
    "%a" * 100,
    "_" * 200,
    "a%",
    "\\",
    "\\%",
    ".*",
    "(a*)*b",
    "(a|a)*$",
    "[a",
    "a" * 200,
    "'",
)
"""Patterns, were they not words; each is also what a few names begin with."""


@pytest.mark.attack(127)
async def test_no_search_over_many_names_is_a_pattern_nor_keeps_anybody_waiting(
    world: World,
) -> None:
    owner, other = await world.owner(), await world.owner()
    await plant_names(owner, world.superuser, 5_000)

    async def search(path: str, words: str) -> None:
        answer = await owner.client.get(owner.url(f"/{path}"), params={"name_prefix": words, "limit": 100})
        assert answer.status_code == 200, (path, words, answer.text)
        names = [row["name"] for row in answer.json()["data"]]
        assert sorted(names) == sorted(one for one in SEARCHES if one.startswith(words)), words

    searches = [search(path, words) for path in ("projects", "teams") for words in SEARCHES for _ in range(4)]
    searching = asyncio.gather(*searches)
    met = 0
    async with asyncio.timeout(60):
        while not searching.done():
            assert (await other.client.get(other.url("/projects"))).status_code == 200
            met += 1
        await searching
    assert met > 1


async def plant_names(owner: Member, superuser: asyncpg.Connection, rows: int) -> None:
    """Projects and teams, most of them with names over which a pattern would go back and forth."""
    for path, body in (("projects", {"name": "first", "key": "FIRST"}), ("teams", {"name": "first"})):
        assert (await owner.client.post(owner.url(f"/{path}"), json=body)).status_code == 201
        table = path.removesuffix("s")
        await superuser.execute(
            f"INSERT INTO app.{table} SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(),"
            f" 'key', 'K' || n, 'name', word, 'name_norm', word))).* FROM app.{table} AS t,"
            " (SELECT n, coalesce(($2::text[])[n], repeat('a', 190) || lpad(n::text, 10, 'a')) AS word"
            " FROM generate_series(1, $3::integer) AS n) AS words WHERE t.tenant_id = $1",
            to_uuid("org", owner.organization_id),
            list(SEARCHES),
            rows,
        )
        await superuser.execute(f"ANALYZE app.{table}")


async def test_far_beyond_its_limit_an_organization_is_refused_without_the_database(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0
    begin = Database._begin

    async def count(database: Database, read_only: bool) -> Transaction:
        nonlocal begun
        begun += 1
        return await begin(database, read_only)

    async with workshop.opened(settings, world.superuser, rate_organization_per_minute=3) as shop:
        owner, neighbour = await shop.owner(), await shop.owner()
        colleague = await shop.member(owner.organization_id, "member")
        assert [(await owner.client.get(owner.url("/projects"))).status_code for _ in range(4)] == [200, 200, 200, 429]
        monkeypatch.setattr(Database, "_begin", count)
        answers = [await owner.client.get(owner.url("/projects")) for _ in range(10)]
        assert {answer.status_code for answer in answers} == {429}
        assert begun == 0
        assert 0 < int(answers[-1].headers["retry-after"]) <= 20
        assert answers[-1].headers["ratelimit"].startswith('"organization";r=0')
        assert (await colleague.client.get(colleague.url("/projects"))).status_code == 429
        assert begun == 1
        assert (await owner.client.get("/v1/me")).status_code == 200, "outside of it they have their own limit"
        assert (await neighbour.client.get(neighbour.url("/projects"))).status_code == 200


async def test_waiting_for_ones_own_share_ends(settings: Settings, world: World) -> None:
    async with workshop.opened(settings, world.superuser, pool_size=2) as shop:
        owner = await shop.owner()
        began = time.monotonic()
        nap = asyncio.create_task(owner.client.get(owner.url("/workshop/naps"), params={"seconds": 0.3}))
        assert (await owner.client.get(owner.url("/projects"))).status_code == 200
        assert (await nap).status_code == 200
        assert time.monotonic() - began < 10
