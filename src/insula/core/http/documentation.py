"""The document at /openapi.json, and pages to read and try it at /docs, without a byte from anybody else's server."""

import asyncio
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Controller, get
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from insula.core.http.reply import Reply

_PUBLIC: Final = "the API's description is the same for everybody"
_ASSETS: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Insula API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
"""
_START: Final = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true, tryItOutEnabled: true,
  persistAuthorization: false, displayRequestDuration: true, filter: true});
"""


class Description:
    """The API's, which takes half a second of CPU: written when somebody asks for it first, and kept.

    What is wrong with it stops no start, as little as it stops the API: it is an error of whoever asks.
    """

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe, self._writing = describe, asyncio.Lock()
        self._written: bytes | None = None

    def write(self) -> bytes:
        """As JSON."""
        if self._written is None:
            self._written = msgspec.json.encode(self._describe())
        return self._written

    async def read(self) -> bytes:
        """The same, while others are served."""
        async with self._writing:
            return self.write() if self._written else await asyncio.to_thread(self.write)


class DocumentationController(Controller):
    """Swagger UI as the swagger-ui-py package ships it."""

    path = "/"
    include_in_schema = False

    @get("/openapi.json", public=_PUBLIC)
    async def get_openapi(self, state: State) -> Reply:
        """The OpenAPI document."""
        return Reply(await state.description.read(), media_type="application/json")

    @get("/docs", public=_PUBLIC)
    async def get_documentation(self) -> Reply:
        """The interactive documentation."""
        return _guarded(_PAGE, "text/html")

    @get("/docs/{name:str}", public=_PUBLIC)
    async def get_documentation_asset(self, name: FromPath[str]) -> Reply:
        """What the documentation page is made of."""
        if name == "start.js":
            return _guarded(_START, "text/javascript")
        if name not in _ASSETS:
            raise NotFoundException
        return _guarded(_asset(name), _ASSETS[name])


def _guarded(content: str, media_type: str) -> Reply:
    # It changes with a release only, and half of it is a megabyte.
    headers = {"content-security-policy": _POLICY, "cache-control": "public, max-age=3600"}
    return Reply(content, media_type=media_type, headers=headers)


@lru_cache
def _asset(name: str) -> str:
    # Found, not imported: the package's own code is a web framework plugin that we do not run.
    package = importlib.util.find_spec("swagger_ui")
    if package is None or package.origin is None:
        raise NotFoundException
    return (Path(package.origin).parent / "static" / name).read_text(encoding="utf-8")
