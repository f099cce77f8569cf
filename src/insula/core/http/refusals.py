"""Which refusals a route can answer with, derived from what the route is, and how the document shows them."""

from typing import Any, Final

from litestar.handlers import HTTPRouteHandler

from insula.core.errors import DomainError
from insula.core.http.problems import ALL

_BODIES: Final = frozenset({"POST", "PUT", "PATCH"})


def refusals_of(method: str, path: str, handler: HTTPRouteHandler, *, conditional: bool) -> list[int]:
    """The statuses from 400 up that a route may answer. Public routes that write belong to sign-in and its kin."""
    statuses = {400, 429, 500, 503, 504}
    private = "public" not in handler.opt
    writes = method not in {"GET", "HEAD"}
    if private or writes:
        statuses |= {401, 403}
    if "{" in path or "operator" in handler.opt or writes:
        statuses |= {404}
    if writes:
        statuses |= {409}
    if method in _BODIES:
        statuses |= {408, 413, 415, 422}
    if conditional:
        statuses |= {412, 428}
    return sorted(statuses)


def refusal_responses(schema: dict[str, Any]) -> dict[str, Any]:
    """Every refusal as a component of the document; ``schema`` is that of problem details. None of its routes has
    a method that it does not support.
    """
    return {name_of(status): _response(status, schema) for status in ALL if status != 405}


def name_of(status: int) -> str:
    """What the document calls the answer with this status."""
    return "InternalError" if status == 500 else ALL[status].__name__


def _response(status: int, schema: dict[str, Any]) -> dict[str, Any]:
    error = ALL[status]
    names = ["X-Request-Id", "RateLimit", "RateLimit-Policy"]
    names += ["Retry-After"] if status in {409, 429, 503} else []
    names += ["WWW-Authenticate"] if status == 401 else []
    example = {"type": f"urn:insula:problem:{error.code}", "title": error.title, "status": status, "code": error.code}
    return {
        "description": f"{error.title}. `code`: {', '.join(f'`{code}`' for code in _codes(error))}.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }


def _codes(error: type[DomainError]) -> list[str]:
    """What its problem may be called in particular, and in general."""
    kinds = sorted(error.__subclasses__(), key=lambda kind: kind.code)
    return [error.code, *(code for kind in kinds if kind.status == error.status for code in _codes(kind))]
