"""Role x route x {own, other, no tenant}: what the program does, what it declares and what was reviewed agree."""

import re
from pathlib import Path

import pytest
from litestar import Litestar

from insula.core.http.guard import declared_routes
from insula.core.ids import new_id
from insula.core.permissions import Role
from tests.factories import Member, World
from tests.resources import prefix_of

GOLDEN = Path(__file__).with_name("permission_matrix.txt")


def tenant_routes(app: Litestar) -> list[tuple[str, str, str]]:
    """(method, path, permission) of every route of an organization."""
    return [
        (method, path, handler.opt["permission"].name)
        for method, path, handler in declared_routes(app)
        if path.startswith("/v1/organizations/{organization_id}")
    ]


def filled(path: str, organization: str) -> str:
    """The path with the organization's id and, for everything else, ids that nothing has."""
    return re.sub(
        r"\{(\w+)\}",
        lambda name: organization if name[1] == "organization_id" else new_id(prefix_of(name[1])),
        path,
    )


async def ask(client: object, method: str, url: str) -> tuple[int, str]:
    """The answer's status and code. A body that no handler accepts: the question is who may ask, not what."""
    content = {} if method in {"GET", "DELETE"} else {"content": b"[", "headers": {"content-type": "application/json"}}
    answer = await client.request(method, url, **content)  # type: ignore[attr-defined]
    return answer.status_code, answer.json().get("code", "") if answer.content else ""


def test_the_matrix_is_the_one_that_was_reviewed(litestar: Litestar, pytestconfig: pytest.Config) -> None:
    permissions = litestar.state.permissions
    width = max(len(f"{method} {path}") for method, path, _ in tenant_routes(litestar))
    lines = [f"{'':<{width}}  {'  '.join(role.value for role in Role)}"]
    for method, path, permission in tenant_routes(litestar):
        marks = "  ".join(("x" if permission in permissions.of(role) else "-").center(len(role)) for role in Role)
        lines.append(f"{f'{method} {path}':<{width}}  {marks}")
    matrix = "\n".join(line.rstrip() for line in lines) + "\n"
    if pytestconfig.getoption("--write-golden"):
        GOLDEN.write_text(matrix, encoding="utf-8")
    assert matrix.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines(), (
        "who may do what has changed: if it should,"
        " ./insula test tests/architecture/test_permission_matrix.py --write-golden"
    )


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.attack(1)
async def test_a_role_gets_exactly_its_routes_in_its_own_organization_and_none_elsewhere(
    world: World, litestar: Litestar, role: Role
) -> None:
    allowed = litestar.state.permissions.of(role)
    own, other = await world.owner(), await world.owner()
    for method, path, permission in tenant_routes(litestar):
        member: Member = await world.member(own.organization_id, role)
        status, code = await ask(member.client, method, filled(path, own.organization_id))
        if permission in allowed:
            assert status != 401, (method, path)
            assert code != "permission_missing", (method, path)
            assert status < 500, (method, path)
        else:
            assert (status, code) == (403, "permission_missing"), (method, path)
        assert await ask(member.client, method, filled(path, other.organization_id)) == (404, "not_found"), path
        assert (await ask(world.client(), method, filled(path, own.organization_id)))[0] == 401, path
