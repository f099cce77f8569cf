"""The matrix who x every route, as the routes declare it."""

from collections.abc import Sequence
from pathlib import Path

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from insula.core.http.guard import declared_routes
from insula.core.permissions import Role

MATRIX = Path(__file__).with_name("permission_matrix.txt")
CALLERS = ("nobody", "person", "operator")
"""Of what is no organization's: without a session, with one, and with one of an operator."""


def matrix_of(app: Litestar) -> str:
    """Two tables: each role and an organization's routes, each caller and all others."""
    permissions = app.state.permissions
    inside = [
        (f"{method} {path}", {role.value for role in Role if permission in permissions.of(role)})
        for method, path, permission in tenant_routes(app)
    ]
    outside = [(f"{method} {path}", who) for method, path, who in other_routes(app)]
    return _table([role.value for role in Role], inside) + "\n" + _table(CALLERS, outside)


def _table(columns: Sequence[str], rows: Sequence[tuple[str, set[str]]]) -> str:
    width = max(len(route) for route, _ in rows)
    lines = [f"{'':<{width}}  {'  '.join(columns)}"]
    for route, who in rows:
        marks = "  ".join(("x" if column in who else "-").center(len(column)) for column in columns)
        lines.append(f"{route:<{width}}  {marks}")
    return "".join(f"{line.rstrip()}\n" for line in lines)


def tenant_routes(app: Litestar) -> list[tuple[str, str, str]]:
    """(method, path, permission) of every route of an organization."""
    return [
        (method, path, handler.opt["permission"].name)
        for method, path, handler in declared_routes(app)
        if path.startswith("/v1/organizations/{organization_id}")
    ]


def other_routes(app: Litestar) -> list[tuple[str, str, set[str]]]:
    """(method, path, who may call it) of every other route."""
    tenants = {(method, path) for method, path, _ in tenant_routes(app)}
    return [
        (method, path, _callers(path, handler))
        for method, path, handler in declared_routes(app)
        if (method, path) not in tenants
    ]


def _callers(path: str, handler: HTTPRouteHandler) -> set[str]:
    """A route of one's own account needs a session, also where the handler looks at it by itself."""
    if "operator" in handler.opt:
        return {"operator"}
    if "authenticated_only" in handler.opt or path.startswith(("/v1/me", "/v1/auth/sign-out")):
        return {"person", "operator"}
    return set(CALLERS) if "public" in handler.opt else set()
