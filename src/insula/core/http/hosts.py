"""A request names one host, or is refused (RFC 9112, section 3.2): a proxy in front may have gone by the other one."""

import re
from typing import Any, Final

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from insula.core.errors import InvalidRequest, Wrong
from insula.core.http.headers import values_of
from insula.core.http.problems import answer

# RFC 3986, section 3.2.2, without its details; not empty, since addresses of http have a host (RFC 9110, section 4.2).
_HOST: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]+")

_WITHOUT: Final = frozenset({"1.0", "1"})
"""HTTP/1.0, as ASGI says it and as the server does: there a request may name no host."""


class OneHost:
    """Stands before all routes, and looks at those that no route answers as well. The server leaves it to us."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and (wrong := _wrong(scope)) is not None:
            request: Request[Any, Any, Any] = Request(scope, receive, send)
            refusal = InvalidRequest.about("header/Host", *wrong)
            await answer(request, refusal).to_asgi_response(None, request)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _wrong(scope: HTTPScope) -> tuple[Wrong, str] | None:
    hosts = values_of(scope, b"host")
    if len(hosts) > 1:
        return Wrong.REPEATED, "given more than once"
    if not hosts or not hosts[0]:  # the server puts an empty one where there was none
        return None if scope["http_version"] in _WITHOUT else (Wrong.MISSING, "missing")
    return None if _HOST.fullmatch(hosts[0]) else (Wrong.MALFORMED, "one host, and perhaps its port")
