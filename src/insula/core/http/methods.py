"""What follows from the methods that paths have: HEAD, OPTIONS, and what POST makes."""

from typing import Any

from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from insula.core.http.creations import CREATES, ITEM
from insula.core.http.guard import declared_routes
from insula.core.http.problems import allow


def methods_of(app: Litestar) -> dict[str, set[str]]:
    """Every path's methods. Litestar's own answer to OPTIONS knows only those that were registered first."""
    methods: dict[str, set[str]] = {}
    for method, path, _ in declared_routes(app):
        methods.setdefault(path, {"OPTIONS"}).add(method)
    return methods


def creations_of(app: Litestar) -> dict[str, str]:
    """The path of every POST that makes something -> what ``CREATES`` says of it.

    One whose items have a path of their own, one segment further, makes such an item without saying so: ``/teams`` and
    ``/teams/{team_id}``.
    """
    routes = list(declared_routes(app))
    collections = {path.rpartition("/")[0] for method, path, _ in routes if method == "GET" and path.endswith("}")}
    return {
        path: handler.opt.get(CREATES, ITEM)
        for method, path, handler in routes
        if method == "POST" and (path in collections or CREATES in handler.opt)
    }


def options_of(request: Request[Any, Any, Any]) -> Response[None]:
    """The answer to OPTIONS. Other origins are allowed nothing, so there is nothing to say about CORS."""
    offered = request.app.state.methods[request.scope["path_template"]]
    return Response(None, status_code=204, headers={"allow": allow(offered)})


class HeadAsGet:
    """Answers HEAD as GET, without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        # In place, and back afterwards: who stands outside reads the route from this scope, and logs the method.
        scope["method"] = "GET"
        try:
            await self._app(scope, receive, bodiless)
        finally:
            scope["method"] = "HEAD"
