"""Attacks on isolation over HTTP: the neighbour's ids, cursors, headers and names, with and without the guard."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from litestar import Litestar
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

import insula.app
from insula.app import create_litestar
from insula.core import cache
from insula.core.http.access_log import AccessLog
from insula.core.ids import new_id, to_uuid
from insula.settings import Settings
from tests.conftest import running
from tests.factories import World
from tests.isolation.estate import Estate, Route, found, inventory, routes_of
from tests.resources import prefix_of


class Siege:
    """Two organizations, and who calls: an owner where the guard stands, else somebody without any permission."""

    def __init__(self, app: Litestar, a: Estate, b: Estate, attacker: httpx.AsyncClient) -> None:
        self.app, self.a, self.b, self.attacker = app, a, b, attacker

    @property
    def home(self) -> str:
        return self.a.owner.organization_id

    @property
    def routes(self) -> list[Route]:
        return list(routes_of(self.app))

    def own(self, route: Route) -> dict[str, str]:
        """The route's parameters, filled with what is the attacker's."""
        return {name: self.a.ids[prefix_of(name)][0] for name in route.parameters}

    def foreign(self, name: str) -> list[str]:
        return self.b.ids[prefix_of(name)]


@pytest.fixture(scope="module")
async def unguarded(settings: Settings) -> AsyncIterator[Litestar]:
    """The program with a guard that lets everything pass: row security must hold alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(insula.app, "guard", lambda scope: None)
        app = create_litestar(settings)
    async with running(app):
        yield app


@pytest.fixture(scope="module", params=["guarded", "unguarded"])
async def siege(
    request: pytest.FixtureRequest, litestar: Litestar, unguarded: Litestar, world: World, superuser: asyncpg.Connection
) -> Siege:
    a, b = await found(world, superuser), await found(world, superuser)
    if request.param == "guarded":
        return Siege(litestar, a, b, a.owner.client)
    open_world = World(AccessLog(unguarded), world.settings, superuser)
    viewer = await open_world.member(a.owner.organization_id, "viewer")
    return Siege(unguarded, a, b, viewer.client)


def told(answer: httpx.Response) -> tuple[int, Any]:
    """The answer, without what differs between any two requests."""
    if not answer.content:
        return answer.status_code, None
    body = answer.json()
    body.pop("request_id", None)
    return answer.status_code, body


async def test_without_the_guard_any_member_may_do_anything(world: World, unguarded: Litestar) -> None:
    viewer = await world.member((await world.owner()).organization_id, "viewer")
    through = World(AccessLog(unguarded), world.settings, world.superuser).client(viewer.person.token)
    assert (await viewer.client.post(viewer.url("/teams"), json={"name": "x"})).status_code == 403
    assert (await through.post(viewer.url("/teams"), json={"name": "x"})).status_code == 201


@pytest.mark.attack(1)
async def test_the_neighbours_organization_does_not_exist(siege: Siege, superuser: asyncpg.Connection) -> None:
    before = await inventory(superuser, siege.b)
    for route in siege.routes:
        ids = {name: siege.foreign(name)[0] for name in route.parameters}
        there = await route.call(siege.attacker, siege.b.owner.organization_id, **ids)
        nowhere = await route.call(siege.attacker, new_id("org"), **ids)
        assert there.status_code == 404, (route, there.text)
        assert told(there) == told(nowhere), route
    assert await inventory(superuser, siege.b) == before


@pytest.mark.attack(1)
async def test_the_neighbours_resources_are_like_random_ids(siege: Siege, superuser: asyncpg.Connection) -> None:
    before = await inventory(superuser, siege.b)
    tried = 0
    for route in siege.routes:
        for name in route.parameters:
            for foreign in siege.foreign(name):
                there = await route.call(siege.attacker, siege.home, **(siege.own(route) | {name: foreign}))
                nowhere = await route.call(
                    siege.attacker, siege.home, **(siege.own(route) | {name: new_id(prefix_of(name))})
                )
                assert there.status_code == 404, (route, name, there.text)
                assert told(there) == told(nowhere), route
                tried += 1
    assert tried > 40
    assert await inventory(superuser, siege.b) == before


@pytest.mark.attack(1)
@pytest.mark.attack(16)
async def test_no_answer_in_ones_own_house_speaks_of_the_neighbour(siege: Siege) -> None:
    """Lists, counts and headers: whatever can be read."""
    for route in siege.routes:
        if route.method == "GET":
            answer = await route.call(siege.attacker, siege.home, **siege.own(route))
            assert answer.status_code < 500, route
            everything = answer.text + str(answer.headers)
            assert siege.b.word not in everything, route
            for ids in siege.b.ids.values():
                assert not any(foreign in everything for foreign in ids), route


@pytest.mark.attack(2)
async def test_the_neighbours_ids_in_a_body_are_like_random_ids(siege: Siege, superuser: asyncpg.Connection) -> None:
    before = await inventory(superuser, siege.b)
    tried = 0
    for route in siege.routes:
        for name, prefix in route.references.items():
            answers = [
                await msgspec.structs.replace(route, body=route.body | {name: value}).call(
                    siege.attacker, siege.home, **siege.own(route)
                )
                for value in (siege.b.ids[prefix][0], new_id(prefix))
            ]
            assert answers[0].status_code in {403, 404, 422}, (route, answers[0].text)
            assert told(answers[0]) == told(answers[1]), route
            tried += 1
    assert tried >= 3  # a project's team, new and changed, and the next owner
    assert await inventory(superuser, siege.b) == before


@pytest.mark.attack(4)
async def test_the_neighbours_cursors_and_filters_are_refused(siege: Siege) -> None:
    cursors = 0
    for route in siege.routes:
        if route.method != "GET":
            continue
        home = route.path.format(organization_id=siege.home, **siege.own(route))
        for query in ("tenant_id", "organization_id", "organization"):
            refused = await siege.attacker.get(home, params={query: siege.b.owner.organization_id})
            assert refused.status_code in {400, 404}, (route, refused.text)
        there = route.path.format(
            organization_id=siege.b.owner.organization_id, **{name: siege.foreign(name)[0] for name in route.parameters}
        )
        page = await siege.b.owner.client.get(there, params={"limit": 1})
        cursor = page.json().get("next_cursor") if page.status_code == 200 else None
        if cursor:
            for forged in (cursor, cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB"), cursor[:10], "A" * 80):
                answer = await siege.attacker.get(home, params={"limit": 1, "cursor": forged})
                assert answer.status_code == 400, (route, answer.text)
            cursors += 1
    assert cursors >= 5


@pytest.mark.attack(6)
async def test_only_the_path_names_the_organization(siege: Siege) -> None:
    foreign = siege.b.owner.organization_id
    headers = {
        "x-tenant": foreign,
        "x-tenant-id": foreign,
        "x-organization-id": foreign,
        "x-forwarded-host": f"{foreign}.test",
        "host": f"{foreign}.insula.test",
        "x-original-url": f"/v1/organizations/{foreign}",
        "x-http-method-override": "DELETE",
    }
    plain = await siege.attacker.get(f"/v1/organizations/{siege.home}")
    dressed = await siege.attacker.get(f"/v1/organizations/{siege.home}", headers=headers)
    assert told(dressed) == told(plain)
    assert dressed.json()["id"] == siege.home


@pytest.mark.attack(6)
async def test_who_knocked_where_is_logged(siege: Siege) -> None:
    url = f"/v1/organizations/{siege.b.owner.organization_id}/projects"
    with capture_logs(processors=[merge_contextvars]) as lines:
        assert (await siege.attacker.get(url)).status_code == 404
        mine = await siege.attacker.get("/v1/me")
    line = next(line for line in lines if line["event"] == "request" and line["path"] == url)
    assert line["user"] == mine.json()["id"]
    assert "tenant" not in line


@pytest.mark.attack(8)
async def test_names_the_neighbour_uses_are_free(siege: Siege) -> None:
    a, b = siege.a.owner, siege.b.owner
    assert (await b.client.post(b.url("/projects"), json={"name": "x", "key": "SAME"})).status_code == 201
    for path, body in (
        ("/projects", {"name": "x", "key": "SAME"}),
        ("/teams", {"name": f"Team 1 {siege.b.word}"}),
        ("/invitations", {"email": f"{siege.b.word}1@example.com", "role": "member"}),
        ("/invitations", {"email": b.person.email, "role": "member"}),
    ):
        made = await a.client.post(a.url(path), json=body)
        assert made.status_code == 201, made.text


@pytest.mark.attack(9)
async def test_the_neighbours_delete_does_not_cascade_here(siege: Siege, superuser: asyncpg.Connection) -> None:
    before = await inventory(superuser, siege.a)
    tenant = to_uuid("org", siege.home)
    for table, column, target in await superuser.fetch(
        "SELECT f.conrelid::regclass::text, a.attname, f.confrelid::regclass::text"
        "  FROM pg_constraint f JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey)"
        " WHERE f.contype = 'f' AND f.connamespace = 'app'::regnamespace AND cardinality(f.conkey) > 1"
        "   AND a.attname <> 'tenant_id' AND f.conparentid = 0"
    ):
        foreign = await superuser.fetchval(
            f"SELECT id FROM {target} WHERE tenant_id = $1 LIMIT 1", to_uuid("org", siege.b.owner.organization_id)
        )
        assert foreign, target
        with pytest.raises(asyncpg.ForeignKeyViolationError):  # not even with all rights
            await superuser.execute(
                f"UPDATE {table} SET {column} = $2 WHERE (tenant_id, id) IN"
                f" (SELECT tenant_id, id FROM {table} WHERE tenant_id = $1 LIMIT 1)",
                tenant,
                foreign,
            )
    b = siege.b.owner
    for team in siege.b.ids["tea"]:
        assert (await b.client.delete(b.url(f"/teams/{team}"), headers={"if-match": "*"})).status_code in {204, 404}
    assert await inventory(superuser, siege.a) == before


@pytest.mark.attack(16)
async def test_what_the_database_says_of_a_row_stays_in_the_log(siege: Siege) -> None:
    owner = siege.a.owner
    refusals = [
        await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "P1"}),
        await owner.client.post(
            owner.url("/projects"), json={"name": "x", "key": "NEW", "team_id": siege.b.ids["tea"][0]}
        ),
        await owner.client.post(owner.url("/teams"), json={"name": f"Team 1 {siege.a.word}"}),
    ]
    for answer in refusals:
        assert answer.status_code in {409, 422}
        for word in ("Key (", "Failing row", "constraint", "already exists", "tenant_id", "app."):
            assert word not in answer.text, answer.text


@pytest.mark.attack(16)
async def test_the_neighbours_requests_cost_nothing_here(siege: Siege) -> None:
    async def left() -> int:
        answer = await siege.attacker.get(f"/v1/organizations/{siege.home}")
        return min(
            int(part.split("r=")[1].split(";")[0]) for part in answer.headers["ratelimit"].split(",") if "r=" in part
        )

    before = await left()
    for _ in range(20):
        await siege.b.owner.client.get(siege.b.owner.url(""))
    assert before - await left() <= 3


parts = st.lists(st.text(max_size=8), min_size=1, max_size=3)


@pytest.mark.attack(12)
@with_settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=8), parts, st.text(min_size=1, max_size=8), parts)
def test_no_two_owners_share_a_key_in_redis(one: str, its: list[str], other: str, others: list[str]) -> None:
    if (one, its) != (other, others):
        assert cache.key(one, *its) != cache.key(other, *others)
    assert cache.key(None, *its) != cache.key(other, *others)


@pytest.mark.attack(12)
async def test_every_key_in_redis_names_its_owner_first(siege: Siege) -> None:
    await siege.a.owner.client.get(siege.a.owner.url(""))
    keys = [key.decode() async for key in siege.app.state.redis.scan_iter(match="*")]
    ours = [key for key in keys if not key.startswith("saq:")]
    assert ours
    for key in ours:
        assert key.startswith(("insula:{", "insula:-:")), key
    assert not any(siege.a.owner.organization_id in key and f"{{{siege.home}}}" not in key for key in ours)
