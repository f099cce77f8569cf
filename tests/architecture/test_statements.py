"""What a list costs: a fixed number of statements, however many rows it shows."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, get_origin, get_type_hints

import asyncpg
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from insula.core import events
from insula.core.db import Database, Transaction
from insula.core.http.guard import declared_routes
from insula.core.ids import new_id, to_text, to_uuid
from insula.core.lately import Lately
from insula.core.listing import Page
from tests.factories import Member, World
from tests.resources import TABLES, ListRoute, list_routes, prefix_of
from tests.rows import first, stock

ROWS = 3
ASKING: ContextVar[bool] = ContextVar("asking", default=False)
"""Whether a statement is sent for the test's own request: the program looks after its keys meanwhile."""

ONE_MORE = {
    "list_events": "that somebody looked is written down, once in a while",
}
"""Lists that need a statement beside BEGIN, the door, the page and COMMIT, and why. Those below something ask first
whether that is there."""


def lists(app: Litestar) -> dict[str, tuple[str, HTTPRouteHandler]]:
    """Every route that answers with a page."""
    return {
        handler.handler_name: (path, handler)
        for method, path, handler in declared_routes(app)
        if method == "GET" and get_origin(get_type_hints(handler.fn).get("return")) is Page
    }


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that the program sends for what the test asks."""
    seen: list[str] = []
    heard: list[asyncpg.Connection] = []
    acquire = Database._acquire

    def hear(query: Any) -> None:  # called in the context of who sent it
        if ASKING.get():
            seen.append(query.query)

    async def listened_to(self: Database, read_only: bool) -> Transaction:
        transaction = await acquire(self, read_only)
        driver = getattr(transaction.driver, "_con", transaction.driver)  # the pool's proxy dies with its release
        driver.add_query_logger(hear)
        heard.append(driver)
        return transaction

    monkeypatch.setattr(Database, "_acquire", listened_to)
    yield seen
    for driver in heard:
        driver.remove_query_logger(hear)


async def members(world: World, owner: Member) -> dict[str, str]:
    for _ in range(ROWS):
        await world.member(owner.organization_id, "member")
    return {}


async def organizations(world: World, owner: Member) -> dict[str, str]:
    for _ in range(ROWS):
        await world.member((await world.owner()).organization_id, "member", owner.person)
    return {}


async def teams(world: World, owner: Member) -> dict[str, str]:
    """Teams with their members; returns one of each."""
    await members(world, owner)
    everybody = (await owner.client.get(owner.url("/members"))).json()["data"]
    team: dict[str, Any] = {}
    for number in range(ROWS):
        team = (await owner.client.post(owner.url("/teams"), json={"name": f"Team {number}"})).json()
        for member in everybody:
            placed = await owner.client.put(owner.url(f"/teams/{team['id']}/members/{member['id']}"))
            assert placed.status_code == 200
    return {"team_id": team["id"], "member_id": owner.membership_id}


async def own_invitations(world: World, owner: Member) -> dict[str, str]:
    for _ in range(ROWS):
        await invite(await world.owner(), owner.person.email)
    return {}


async def invite(inviter: Member, email: str) -> None:
    made = await inviter.client.post(inviter.url("/invitations"), json={"email": email, "role": "member"})
    assert made.status_code == 201, made.text


async def jobs(world: World, owner: Member) -> dict[str, str]:
    for _ in range(ROWS):
        await world.superuser.execute(
            "INSERT INTO app.outbox (id, task, payload, status) VALUES ($1, 'statements', '{}', 'dead')",
            to_uuid("job", new_id("job")),
        )
    return {}


async def actions(world: World, owner: Member) -> dict[str, str]:
    for _ in range(ROWS):
        await world.superuser.execute(
            "INSERT INTO app.operator_action (id, user_id, action, target, context) VALUES ($1, $2, 'a', 't', '{}')",
            to_uuid("opa", new_id("opa")),
            to_uuid("usr", owner.person.id),
        )
    return {}


async def make_operator(world: World, owner: Member) -> None:
    await world.superuser.execute("INSERT INTO app.operator (user_id) VALUES ($1)", to_uuid("usr", owner.person.id))


async def sessions(world: World, owner: Member) -> dict[str, str]:
    for _ in range(ROWS):
        await world.session(owner.person.id)
    return {}


async def account_events(world: World, owner: Member) -> dict[str, str]:
    for name in "XYZ"[:ROWS]:
        changed = await owner.client.patch("/v1/me", json={"name": name}, headers={"if-match": "*"})
        assert changed.status_code == 200
    return {}


FURNISH: dict[str, Callable[[World, Member], Awaitable[dict[str, str]]]] = {
    "list_jobs": jobs,
    "list_members": members,
    "list_my_events": account_events,
    "list_my_invitations": own_invitations,
    "list_my_organizations": organizations,
    "list_operator_actions": actions,
    "list_sessions": sessions,
    "list_team_members": teams,
    "list_teams_of_member": teams,
}
"""List -> how it comes to hold rows, where that takes more than rows in its table; returns what its path needs."""
LISTS = {found.name: found for found in list_routes()}


async def furnish(found: ListRoute, world: World, owner: Member) -> dict[str, str]:
    """Rows for the list to show, and what its path needs beside the organization."""
    if found.name in FURNISH:
        return await FURNISH[found.name](world, owner)
    assert found.listing is not None
    tenant = to_uuid("org", owner.organization_id)
    table = found.listing._key.table.fullname
    await stock(world.superuser, table, tenant)
    parents = {name: prefix_of(name) for name in found.parameters}
    return {
        name: to_text(prefix, await first(world.superuser, TABLES[prefix].fullname, tenant))
        for name, prefix in parents.items()
    }


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_is_begin_the_door_the_page_and_commit(
    world: World, litestar: Litestar, statements: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, handler = lists(litestar)[name]
    owner = await world.owner()
    monkeypatch.setattr(events, "LATELY", Lately())  # so that every look is told
    ids = await furnish(LISTS[name], world, owner)
    url = path.format(**{"organization_id": owner.organization_id, **ids})
    if "operator" in handler.opt:
        await make_operator(world, owner)
    ASKING.set(True)
    for _ in range(2):  # the first request of a connection may have to ask Postgres about its types
        await asyncio.sleep(0)  # asyncpg tells its listeners a moment later
        statements.clear()
        answer = await owner.client.get(url)
        await asyncio.sleep(0)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) >= 2, "a list of one row would not show a statement per row"
    expected = 5 if name in ONE_MORE or LISTS[name].parameters else 4
    assert len(statements) == expected, statements
    assert statements[0].startswith("BEGIN")
    assert "app.enter" in statements[1]
    assert statements[-1] == "COMMIT"


def test_every_list_is_counted_and_every_exception_is_a_list(litestar: Litestar) -> None:
    assert set(lists(litestar)) == set(LISTS)
    assert set(ONE_MORE) | set(FURNISH) <= set(LISTS)
