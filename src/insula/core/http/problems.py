"""Every error as problem details (RFC 9457)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import asyncpg
import msgspec
import sqlalchemy.exc
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    NotFoundException,
    ValidationException,
)
from litestar.types import ExceptionHandlersMap
from sqlalchemy.orm.exc import StaleDataError

from insula.core import errors
from insula.core.errors import DomainError, FieldError
from insula.core.http.reply import Reply

_log = structlog.get_logger("insula.problems")

RERUN: Final = "insula_rerun"
"""Scope key: others were in the way, and a second run may succeed or be refused for good; holds why."""

ALL: Final[dict[int, type[DomainError]]] = {
    error.status: error
    for error in (
        errors.InvalidRequest,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.RequestTimeout,
        errors.Conflict,
        errors.PreconditionFailed,
        errors.TooLarge,
        errors.UnsupportedMediaType,
        errors.Unprocessable,
        errors.PreconditionRequired,
        errors.RateLimited,
        DomainError,
        errors.Unavailable,
        errors.TimedOut,
    )
}

_OF_LITESTAR: Final = {405: errors.MethodNotAllowed, 413: errors.TooLarge, 415: errors.UnsupportedMediaType}


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details: ``type`` and ``code`` are stable, ``detail`` is for people, ``errors`` name fields. With the
    code ``permission_missing``, ``permission`` is the one that the caller's role lacks (RFC 9457, section 3.2).
    """

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    errors: list[FieldError] = []
    permission: str | None = None
    request_id: str | None = None


def handlers(constraints: Mapping[str, Callable[[], DomainError]]) -> ExceptionHandlersMap:
    """One table: what was raised -> how it is answered. ``constraints`` says what the schema's refusals mean."""

    def _database_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
        cause: Any = getattr(error, "orig", error)
        sqlstate = errors.sqlstate_of(error)
        cause = cause.__cause__ if isinstance(error, sqlalchemy.exc.DBAPIError) else cause
        meaning = constraints.get(getattr(cause, "constraint_name", None) or "", _without_partition(cause))
        if meaning is None and sqlstate in errors.RERUNNABLE and not _is_referred_to(cause):
            request.scope[RERUN] = sqlstate  # type: ignore[typeddict-unknown-key]
        problem = meaning() if meaning else errors.from_sqlstate(sqlstate, private=repr(error))
        return answer(request, problem, error)

    return {
        errors.Overtaken: _overtaken,
        DomainError: answer,
        ValidationException: _validation_error,
        HTTPException: _http_error,
        asyncpg.PostgresError: _database_error,
        asyncpg.InterfaceError: _database_error,
        asyncpg.InternalClientError: _database_error,  # what asyncpg says when a connection dies at a bad moment
        ConnectionError: _database_error,
        sqlalchemy.exc.DBAPIError: _database_error,
        StaleDataError: _stale_data,
        Exception: _unexpected,
    }


def _is_referred_to(cause: Any) -> bool:
    """The other sense of a foreign key's refusal: nothing went away, and a second run would be refused again."""
    detail = getattr(cause, "detail", None) or ""
    return isinstance(cause, asyncpg.ForeignKeyViolationError) and "is not present" not in detail


def _without_partition(cause: Any) -> Callable[[], DomainError] | None:
    """A row that no partition takes is to PostgreSQL one that a CHECK refuses, but it names no constraint: nothing
    of the caller's is wrong.
    """
    lost = isinstance(cause, asyncpg.CheckViolationError) and cause.table_name and not cause.constraint_name
    return (lambda: DomainError(private=f"no partition of {cause.table_name} takes the row")) if lost else None


def answer(request: Request[Any, Any, Any], error: DomainError, cause: Exception | None = None) -> Response[Problem]:
    """The problem that an error is told as; ``cause`` is what stands in the log."""
    if request.scope.get(RERUN):
        _log.warning("requests collided", cause=error.private)
    elif error.status == 500:
        _log.error("request failed", code=error.code, cause=error.private, exc_info=cause or error)
    elif error.status > 500:  # the database is away or slow: where we noticed it says nothing
        _log.error("request failed", code=error.code, cause=error.private)
    elif error.private:
        _log.info("request refused", code=error.code, cause=error.private)
    problem = Problem(
        type=f"urn:insula:problem:{error.code}",
        title=error.title,
        status=error.status,
        code=error.code,
        detail=error.detail,
        errors=[each for each in error.errors if _was_sent(request, each)],
        permission=error.permission,
        request_id=request.scope.get("state", {}).get("request_id"),
    )
    return Reply(problem, status_code=error.status, headers=error.headers, media_type="application/problem+json")


def _was_sent(request: Request[Any, Any, Any], error: FieldError) -> bool:
    """Whether what it points at can be there: what is restored meets another of its name, and names none in a body."""
    handler = request.scope.get("route_handler")
    takes_body = handler is None or handler.parsed_data_field is not None
    return takes_body or not error.pointer.startswith("/")


def _overtaken(request: Request[Any, Any, Any], _error: errors.Overtaken) -> Response[Problem]:
    request.scope[RERUN] = "overtaken"  # type: ignore[typeddict-unknown-key]
    return answer(request, errors.Unavailable(private="the caller's rights changed while the request waited"))


def _stale_data(request: Request[Any, Any, Any], error: StaleDataError) -> Response[Problem]:
    return answer(request, errors.PreconditionFailed(private=repr(error)), error)


def _validation_error(request: Request[Any, Any, Any], error: ValidationException) -> Response[Problem]:
    """A parameter that Litestar could not convert; it forgets the source of those that dependencies take."""
    found = error.extra if isinstance(error.extra, list) else []
    fields = [FieldError(f"{_source(item)}/{item['key']}", errors.Wrong.MALFORMED, item["message"]) for item in found]
    return answer(request, errors.InvalidRequest(None if fields else error.detail, errors=fields))


def _source(item: dict[str, Any]) -> str:
    return str(getattr(item.get("source"), "value", "query"))


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    if isinstance(error, NotFoundException):
        return answer(request, errors.NotFound())
    if isinstance(error, ClientException) and error.status_code == 400:
        return answer(request, errors.InvalidRequest(error.detail))
    known = _OF_LITESTAR.get(error.status_code)
    if known is None:
        return answer(request, DomainError(private=repr(error)), error)
    if (methods := (error.headers or {}).get("allow")) is not None:
        return answer(request, known(headers={"allow": allow(methods.split(", "))}))
    return answer(request, known())


def allow(methods: Iterable[str]) -> str:
    """The Allow header (RFC 9110, section 10.2.1). HEAD is answered wherever GET is."""
    offered = set(methods)
    return ", ".join(sorted(offered | {"HEAD"} if "GET" in offered else offered))


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    return answer(request, DomainError(private=repr(error)), error)
