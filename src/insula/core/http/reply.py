"""The response class of every route: ETag and Link headers follow from what is answered."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.types import ASGIApp

from insula.core.http.admission import rate_limit_headers
from insula.core.listing import Page


class Reply(Response[Any]):
    """Adds the ETag of a versioned resource, the Link to the next page (RFC 8288), the RateLimit headers, and says not to store anything."""

    def to_asgi_response(self, request: Request[Any, Any, Any], **kwargs: Any) -> ASGIApp:
        content = self.content
        version = getattr(content, "version", None)
        if version is not None:
            self.headers.setdefault("etag", f'"{version}"')
        elif isinstance(content, Page) and content.next_cursor is not None:
            query = {**request.query_params.dict(), "cursor": [content.next_cursor]}
            self.headers.setdefault("link", f'<{request.url.path}?{urlencode(query, doseq=True)}>; rel="next"')
        self.headers.setdefault("cache-control", "no-store")
        self.headers.update(rate_limit_headers(request.scope["state"]))
        response: ASGIApp = super().to_asgi_response(request=request, **kwargs)
        return response
