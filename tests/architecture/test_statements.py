"""What a list costs: a fixed number of statements, however many rows it shows."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, get_origin, get_type_hints

import asyncpg
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from insula.core import events
from insula.core.db import Database, Transaction
from insula.core.http.guard import declared_routes
from insula.core.ids import new_id, to_uuid
from insula.core.lately import Lately
from insula.core.listing import Page
from tests.factories import Member, World

ROWS = 3

ONE_MORE = {
    "list_events": "that somebody looked is written down, once in a while",
    "list_team_members": "a list below something asks first whether that is there",
    "list_teams_of_member": "likewise",
}
"""Lists that need a statement beside BEGIN, the door, the page and COMMIT, and why."""


def lists(app: Litestar) -> dict[str, tuple[str, HTTPRouteHandler]]:
    """Every route that answers with a page."""
    return {
        handler.handler_name: (path, handler)
        for method, path, handler in declared_routes(app)
        if method == "GET" and get_origin(get_type_hints(handler.fn).get("return")) is Page
    }


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that the program sends."""
    seen: list[str] = []
    heard: list[asyncpg.Connection] = []
    acquire = Database._acquire

    def hear(query: Any) -> None:
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


async def projects(world: World, owner: Member) -> dict[str, str]:
    for number in range(ROWS):
        body = {"name": f"Project {number}", "key": f"P{number}"}
        assert (await owner.client.post(owner.url("/projects"), json=body)).status_code == 201
    return {}


async def deleted_projects(world: World, owner: Member) -> dict[str, str]:
    await projects(world, owner)
    for project in (await owner.client.get(owner.url("/projects"))).json()["data"]:
        gone = await owner.client.delete(owner.url(f"/projects/{project['id']}"), headers={"if-match": "*"})
        assert gone.status_code == 204
    return {}


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


async def invitations(world: World, owner: Member) -> dict[str, str]:
    for _ in range(ROWS):
        await invite(owner, f"{new_id('x')}@example.com")
    return {}


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


FURNISH: dict[str, Callable[[World, Member], Awaitable[dict[str, str]]]] = {
    "list_deleted_projects": deleted_projects,
    "list_events": projects,
    "list_invitations": invitations,
    "list_jobs": jobs,
    "list_members": members,
    "list_my_invitations": own_invitations,
    "list_my_organizations": organizations,
    "list_operator_actions": actions,
    "list_projects": projects,
    "list_sessions": sessions,
    "list_team_members": teams,
    "list_teams": teams,
    "list_teams_of_member": teams,
}
"""List -> how it comes to hold rows; returns what its path needs beside the organization."""


@pytest.mark.parametrize("name", FURNISH)
async def test_a_list_is_begin_the_door_the_page_and_commit(
    world: World, litestar: Litestar, statements: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, handler = lists(litestar)[name]
    owner = await world.owner()
    monkeypatch.setattr(events, "LATELY", Lately())  # so that every look is told
    ids = await FURNISH[name](world, owner)
    url = path.format(**{"organization_id": owner.organization_id, **ids})
    if "operator" in handler.opt:
        await make_operator(world, owner)
    for _ in range(2):  # the first request of a connection may have to ask Postgres about its types
        await asyncio.sleep(0)  # asyncpg tells its listeners a moment later
        statements.clear()
        answer = await owner.client.get(url)
        await asyncio.sleep(0)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) >= 2, "a list of one row would not show a statement per row"
    expected = 5 if name in ONE_MORE else 4
    assert len(statements) == expected, statements
    assert statements[0].startswith("BEGIN")
    assert "app.enter" in statements[1]
    assert statements[-1] == "COMMIT"


def test_every_list_is_counted_and_every_exception_is_a_list(litestar: Litestar) -> None:
    assert set(lists(litestar)) == set(FURNISH), "a new list: say above how it comes to hold rows"
    assert set(ONE_MORE) <= set(FURNISH)
