"""Between guard and handler: nothing unknown in the query, nothing done twice."""

from typing import Any, Final

from litestar import Request, Response

from insula.core.errors import FieldError, InvalidRequest
from insula.core.http.idempotency import replay

QUERY_NAMES: Final = "query_names"
"""Handler option: the query parameters its operation knows."""


async def before_handler(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Refuse query parameters the operation does not know or that come twice; then answer repeats from the store."""
    if request.scope["query_string"]:
        _refuse_unknown(request)
    return await replay(request)


def _refuse_unknown(request: Request[Any, Any, Any]) -> None:
    known = request.route_handler.opt.get(QUERY_NAMES, frozenset())
    wrong = []
    for name, values in request.query_params.dict().items():
        if name not in known:
            wrong.append(FieldError(f"query/{name[:100]}", "unknown parameter"))
        elif len(values) > 1:
            wrong.append(FieldError(f"query/{name}", "given more than once"))
    if wrong:
        raise InvalidRequest(errors=wrong[:20])
