"""The response class of every route: ETag, Location and Link follow from what is answered."""

from typing import Any
from urllib.parse import urlencode

from litestar import Litestar, Request, Response
from litestar.response.base import ASGIResponse

from insula.core.etags import tag_of
from insula.core.http.creations import address_of
from insula.core.listing import Page


class Reply(Response[Any]):
    """Adds the ETag of a versioned resource, the Location of a new one (RFC 9110, sections 8.8.3 and 10.2.2) and to a
    page the Link to the next one (RFC 8288). Who has the current version already is told so and no more.
    """

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **options: Any) -> ASGIResponse:
        content = self.content
        known = tag_of(content)
        if known is not None:
            tag = f'"{known}"'
            self.headers.setdefault("etag", tag)
            if request.method == "GET" and _is_known(request, tag):
                self.content, self.status_code = None, 304
        elif isinstance(content, Page) and content.next_cursor is not None:
            self.headers.setdefault("link", _next(request, content.next_cursor))
        if self.status_code == 201 and "location" not in self.headers:  # an answer that was stored brings its own
            creates = request.app.state.creations.get(request.scope["path_template"], "")
            if (address := address_of(creates, request.scope["raw_path"].decode(), content)) is not None:
                self.headers["location"] = address
        return super().to_asgi_response(app, request, **options)


def _is_known(request: Request[Any, Any, Any], tag: str) -> bool:
    """If-None-Match (RFC 9110, section 13.1.2), which compares weakly."""
    given = [value for name, value in request.scope["headers"] if name == b"if-none-match"]
    return any(one.strip().removeprefix("W/") in {tag, "*"} for one in b",".join(given).decode("latin-1").split(","))


def _next(request: Request[Any, Any, Any], cursor: str) -> str:
    """A relative reference that repeats the request's own parameters."""
    query = f"cursor={cursor}"  # base64url: nothing of it needs quoting
    if request.scope["query_string"]:
        query = urlencode({**request.query_params, "cursor": cursor})
    return f'<{request.scope["raw_path"].decode()}?{query}>; rel="next"'
