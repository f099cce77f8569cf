"""Which refusals a route can answer with, derived from what the route is."""

from litestar.handlers import HTTPRouteHandler

from insula.core.http.problems import ALL

_BODIES = frozenset({"POST", "PUT", "PATCH"})


def refusals_of(method: str, path: str, handler: HTTPRouteHandler, *, conditional: bool) -> list[int]:
    """The statuses from 400 up that a route may answer. Public routes that write belong to sign-in and its kin."""
    statuses = {400, 429, 500, 503, 504}
    private = "public" not in handler.opt
    writes = method not in {"GET", "HEAD"}
    if private or writes:
        statuses |= {401, 403}
    if "{" in path or writes:
        statuses |= {404}
    if writes:
        statuses |= {409}
    if method in _BODIES:
        statuses |= {413, 415, 422}
    if conditional:
        statuses |= {412, 428}
    return sorted(statuses)


def name_of(status: int) -> str:
    """What the document calls the answer with this status."""
    return "InternalError" if status == 500 else ALL[status].__name__
