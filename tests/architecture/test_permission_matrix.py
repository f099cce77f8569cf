"""Who x every route x {own, other, no tenant}: what the program does, what it declares and what was reviewed agree."""

import re
from typing import Any

import pytest
from litestar import Litestar

from insula.core.http.authentication import COOKIE
from insula.core.ids import new_id
from insula.core.permissions import Role
from tests.architecture.matrix import CALLERS, MATRIX, other_routes, tenant_routes
from tests.factories import ORIGIN, Member, World
from tests.features.test_platform import dead_letter, operator
from tests.resources import prefix_of

READ_FIRST = {"/v1/me/password": b'{"current_password": "not the one", "new_password": "nor this one"}'}
"""Where a handler looks at the session by itself, when it has read the body."""


def filled(path: str, organization: str, **known: str) -> str:
    """The path with the organization's id and what else is known, and for everything else ids that nothing has."""
    known["organization_id"] = organization
    return re.sub(r"\{(\w+)\}", lambda name: known.get(name[1]) or new_id(prefix_of(name[1])), path)


async def ask(client: object, method: str, url: str, **headers: str) -> tuple[int, str]:
    """The answer's status and code. A body that no handler accepts: the question is who may ask, not what."""
    content: dict[str, Any] = {"headers": headers}
    if method not in {"GET", "DELETE"}:
        body = READ_FIRST.get(url, b"[")
        content = {"content": body, "headers": {"content-type": "application/json", **headers}}
    answer = await client.request(method, url, **content)  # type: ignore[attr-defined]
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return answer.status_code, answer.json().get("code", "") if problem else ""


def test_every_route_stands_in_the_matrix(litestar: Litestar) -> None:
    """Asked of the router itself: neither another kind of handler nor another declaration keeps a route out of it."""
    handlers = [
        (str(method), route.path_format)
        for route in litestar.routes
        for handler in (getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)])
        for method in sorted(getattr(handler, "http_methods", {"?"}))
    ]
    reviewed = re.findall(r"^([A-Z]+) (\S+) .*x", MATRIX.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(reviewed) == sorted(set(handlers) - {("OPTIONS", path) for _, path in handlers})


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.attack(1)
async def test_a_role_gets_exactly_its_routes_in_its_own_organization_and_none_elsewhere(
    world: World, litestar: Litestar, role: Role
) -> None:
    """By a bearer token, and answered in the same way by the cookie from our own pages."""
    allowed = litestar.state.permissions.of(role)
    own, other = await world.owner(), await world.owner()
    for method, path, permission in tenant_routes(litestar):
        ours, theirs = filled(path, own.organization_id), filled(path, other.organization_id)
        member: Member = await world.member(own.organization_id, role)
        status, code = await ask(member.client, method, ours)
        if permission in allowed:
            assert status != 401, (method, path)
            assert code != "permission_missing", (method, path)
            assert status < 500, (method, path)
        else:
            assert (status, code) == (403, "permission_missing"), (method, path)
        assert await ask(member.client, method, theirs) == (404, "not_found"), path
        assert (await ask(world.client(), method, ours))[0] == 401, path
        # Another member: the first may have left by what they asked.
        cookie = f"{COOKIE}={(await world.member(own.organization_id, role)).person.token}"
        if method != "GET":
            assert await ask(world.client(), method, ours, cookie=cookie) == (403, "cross_site"), path
        assert await ask(world.client(), method, ours, cookie=cookie, origin=ORIGIN) == (status, code), (method, path)
        assert await ask(world.client(), method, theirs, cookie=cookie, origin=ORIGIN) == (404, "not_found"), path


@pytest.mark.parametrize("caller", CALLERS)
async def test_what_is_no_organizations_is_open_to_exactly_whom_the_matrix_says(
    world: World, litestar: Litestar, caller: str
) -> None:
    for method, path, allowed in other_routes(litestar):
        token = (
            "" if caller == "nobody" else (await (operator(world) if caller == "operator" else world.person())).token
        )
        url = filled(path, "", job_id=await dead_letter(world.superuser), name="scalar.js")
        asked = await ask(world.client(token), method, url)
        if caller not in allowed:
            assert asked == ((401, "unauthenticated") if caller == "nobody" else (404, "not_found")), (method, path)
            continue
        assert asked[0] < 500, (method, path)
        assert asked[1] not in {"unauthenticated", "permission_missing"}, (method, path)
        assert "{job_id}" not in path or asked[0] < 300, (method, path)


async def test_a_cookie_opens_what_its_session_opens_to_our_own_pages_alone(world: World, litestar: Litestar) -> None:
    for method, path, allowed in other_routes(litestar):
        if "nobody" in allowed:
            continue
        url = filled(path, "", job_id=await dead_letter(world.superuser))
        cookie = f"{COOKIE}={(await operator(world)).token}"
        if method != "GET":
            for foreign in ({}, {"origin": "https://elsewhere.example"}):
                assert await ask(world.client(), method, url, cookie=cookie, **foreign) == (403, "cross_site"), path
        status, code = await ask(world.client(), method, url, cookie=cookie, origin=ORIGIN)
        assert (status, code) not in {(401, "unauthenticated"), (403, "cross_site")}, (method, path)
        assert "{job_id}" not in path or status < 300, (method, path)
