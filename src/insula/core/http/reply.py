"""The response class of every route: ETag and Link follow from what is answered."""

from typing import Any
from urllib.parse import urlencode

from litestar import Litestar, Request, Response
from litestar.response.base import ASGIResponse

from insula.core.listing import Page


class Reply(Response[Any]):
    """Adds the ETag of a versioned resource, and to a page the Link to the next one (RFC 8288)."""

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **options: Any) -> ASGIResponse:
        content = self.content
        version = getattr(content, "version", None)
        if version is not None:
            self.headers.setdefault("etag", f'"{version}"')
        elif isinstance(content, Page) and content.next_cursor is not None:
            self.headers.setdefault("link", _next(request, content.next_cursor))
        return super().to_asgi_response(app, request, **options)


def _next(request: Request[Any, Any, Any], cursor: str) -> str:
    """A relative reference that repeats the request's own parameters."""
    query = f"cursor={cursor}"  # base64url: nothing of it needs quoting
    if request.scope["query_string"]:
        query = urlencode({**request.query_params.dict(), "cursor": [cursor]}, doseq=True)
    return f'<{request.scope["raw_path"].decode()}?{query}>; rel="next"'
