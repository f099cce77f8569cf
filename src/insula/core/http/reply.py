"""The response class of every route: ETag and Link headers follow from what is answered."""

from typing import Any
from urllib.parse import urlencode

from litestar import Litestar, Request, Response
from litestar.response.base import ASGIResponse

from insula.core.http.admission import rate_limit_headers
from insula.core.listing import Page


class Reply(Response[Any]):
    """Adds the ETag of a versioned resource, the Link to the next page (RFC 8288) and the RateLimit headers.

    Nothing may be stored on the way: every answer is somebody's.
    """

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **options: Any) -> ASGIResponse:
        content = self.content
        version = getattr(content, "version", None)
        if version is not None:
            self.headers.setdefault("etag", f'"{version}"')
        elif isinstance(content, Page) and content.next_cursor is not None:
            self.headers.setdefault("link", _next(request, content.next_cursor))
        self.headers.setdefault("cache-control", "no-store")
        for name, text in rate_limit_headers(request.scope["state"]).items():
            self.headers.setdefault(name, text)  # a refusal has said already which limit it was
        return super().to_asgi_response(app, request, **options)


def _next(request: Request[Any, Any, Any], cursor: str) -> str:
    """A relative reference that repeats the request's own parameters."""
    query = {**request.query_params.dict(), "cursor": [cursor]} if request.scope["query_string"] else {"cursor": cursor}
    return f'<{request.scope["raw_path"].decode()}?{urlencode(query, doseq=True)}>; rel="next"'
