"""The one guard, for the whole program: default deny."""

from collections.abc import Iterator

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope

from insula.core.errors import PermissionMissing
from insula.core.events import record_denied
from insula.core.http.door import DB
from insula.core.http.idempotency import has_stored_answer
from insula.core.permissions import Permission

DECLARATIONS = ("permission", "public", "authenticated_only", "operator")
"""Each route says exactly one of these; the last three with the reason."""
GIVES_UP = "gives_up"
"""Handler option, with the reason: who does this may not do it again, but hears the answer again by the same key."""


class RouteUndeclared(Exception):
    """A route says neither who may call it nor why everybody may: the program does not start."""


def guard(scope: HTTPScope) -> None:
    """Refuse a member without the route's permission, and leave a trace of it in the organization's events.

    The door calls it, right after it let somebody in; Litestar would copy the handler for each of its guards.
    """
    handler = scope["route_handler"]
    permission: Permission | None = handler.opt.get("permission")
    if permission is None:
        if not any(name in handler.opt for name in DECLARATIONS):
            raise RouteUndeclared(str(handler))
        return
    principal = scope["user"]
    if permission.name in principal.permissions or (GIVES_UP in handler.opt and has_stored_answer(scope)):
        return
    record_denied(scope[DB], permission.name)  # type: ignore[typeddict-item]
    raise PermissionMissing(permission.name)


def declared_routes(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """Every (method, path, handler) of the program, by path and method."""
    found = {
        (route.path_format, str(method)): handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods
        if method != "OPTIONS"
    }
    for path, method in sorted(found):
        yield method, path, found[path, method]


def who_may_call(handler: HTTPRouteHandler) -> str:
    """A route's permission, or its kind and the reason why it needs none."""
    kind = next(name for name in DECLARATIONS if name in handler.opt)
    said = handler.opt[kind]
    if kind == "permission":
        return str(said.name)
    if kind == "public" and handler.security:
        kind = "session"  # it takes one, and looks at it by itself: behind the door nobody is let in
    return f"{kind.replace('_', ' ')}: {said}"


def refuse_undeclared(app: Litestar) -> None:
    """Run at start-up: raises RouteUndeclared for a route that does not say exactly one thing about its callers."""
    for method, path, handler in declared_routes(app):
        said = [name for name in DECLARATIONS if name in handler.opt]
        if len(said) != 1 or not handler.opt[said[0]]:
            raise RouteUndeclared(f"{method} {path} says {said or 'nothing'}; one of {DECLARATIONS} is needed")
