"""Which problems an operation may answer: those that follow from what it is, and those that its handler names."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from insula.core import errors
from insula.core.errors import DomainError
from insula.core.http.access_log import PROBES
from insula.core.http.authentication import SETS_COOKIE
from insula.core.http.idempotency import KeyReused, RequestInProgress
from insula.core.http.problems import ALL
from insula.core.permissions import Permission

REFUSALS: Final = "refusals"
"""Handler option: the errors that its service refuses with. What follows from the route itself is not among them.

Not Litestar's ``raises``, which wants its own exceptions and describes them in its own shape.
"""

LIMIT_HEADERS: Final = ("RateLimit", "RateLimit-Policy")
"""What an answer says of the limit that its request counted to."""

ENCODING: Final = "Content-Encoding"
"""What any answer with a body may carry."""

_SAFE: Final = frozenset({"GET", "HEAD"})
_KEPT_OUT: Final = (errors.MembershipSuspended, errors.OrganizationSuspended)
"""Answers of every route of an organization to some of its members."""

_FORBIDDEN: Final = frozenset({error.code for error in (*_KEPT_OUT, errors.PermissionMissing)})
"""Together they go by the name of their kind."""


def refusals_of(
    method: str, path: str, operation: Mapping[str, Any], options: Mapping[str, Any]
) -> set[type[DomainError]]:
    """Every problem an operation may answer; ``operation`` is what the document says of it so far."""
    return derived_refusals(method, path, operation, options) | set(options.get(REFUSALS, ()))


def derived_refusals(
    method: str, path: str, operation: Mapping[str, Any], options: Mapping[str, Any]
) -> set[type[DomainError]]:
    """Those that door, guard and framework answer before its handler runs, and the database to any."""
    parameters = {parameter["name"] for parameter in operation["parameters"]}
    required = {parameter["name"] for parameter in operation["parameters"] if parameter["required"]}
    writes, session = method not in _SAFE, bool(operation["security"])
    permission: Permission | None = options.get("permission")
    body, keyed = "requestBody" in operation, "Idempotency-Key" in parameters
    rules: list[tuple[bool, Iterable[type[DomainError]]]] = [
        (True, (DomainError, errors.InvalidRequest)),
        (path not in PROBES, (errors.RateLimited, errors.Unavailable, errors.TimedOut)),
        (session, (errors.Unauthenticated,)),
        (writes and (session or SETS_COOKIE in options), (errors.CrossSite,)),
        (permission is not None, _KEPT_OUT),
        (permission is not None and not permission.of_every_role, (errors.PermissionMissing,)),
        ("{" in path or "operator" in options, (errors.NotFound,)),
        (writes, (errors.RequestTimeout, errors.Conflict, errors.PreconditionFailed)),
        (body or keyed or (writes and "public" in options), (errors.TooLarge,)),
        (body, (errors.UnsupportedMediaType,)),
        ("If-Match" in required, (errors.PreconditionRequired,)),
        (keyed, (RequestInProgress, KeyReused)),
    ]
    return {error for applies, refused in rules if applies for error in refused}


class RefusalResponses:
    """Responses of the document, each shared by all operations that may answer the same problems with its status.

    All have the one schema of a problem, whose ``code`` is any text: there will be new ones, and no client that was
    generated before is to fail at them. Which there are today, ``x-codes`` lists, with an example of each.
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        self._problem = problem
        self.components: dict[str, dict[str, Any]] = {}

    def of(
        self, method: str, path: str, operation: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, dict[str, str]]:
        """References to those of an operation, by status.

        Where it takes no body, no example points into one; where its requests are not counted, no limit is told.
        """
        refused = sorted(refusals_of(method, path, operation, options), key=attrgetter("status", "code"))
        body, told = "requestBody" in operation, dict[str, dict[str, str]]()
        for status, found in groupby(refused, attrgetter("status")):
            kinds = list(found)
            # Of a private route, before it is known whose limit it counts to.
            forged = "public" not in options and kinds == [errors.CrossSite]
            told[str(status)] = self._reference(status, kinds, body=body, counted=path not in PROBES and not forged)
        return told

    def _reference(self, status: int, kinds: list[type[DomainError]], *, body: bool, counted: bool) -> dict[str, str]:
        codes = [kind.code for kind in kinds]
        pointing = body or all(kind.pointer is None for kind in kinds)
        name = _name(set(codes)) + ("" if pointing else "OfNoField") + ("" if counted else "Uncounted")
        if name not in self.components:
            description = f"{ALL[status].title}. `code`: {', '.join(f'`{code}`' for code in codes)}."
            told = _told(self._problem, status, kinds, body=body, counted=counted)
            self.components[name] = {"description": description, "x-codes": codes, **told}
        return {"$ref": f"#/components/responses/{name}"}


def _told(
    schema: dict[str, Any], status: int, kinds: list[type[DomainError]], *, body: bool, counted: bool
) -> dict[str, Any]:
    names = ["X-Request-Id", ENCODING, *(LIMIT_HEADERS if counted else ())]
    names += ["Retry-After"] if status in {429, 503} or RequestInProgress in kinds else []
    names += ["WWW-Authenticate"] if status == 401 else []
    told = {
        "schema": schema,
        "examples": {kind.code: {"summary": kind.title, "value": _example(kind, body=body)} for kind in kinds},
    }
    return {
        "headers": header_references(*names),
        "content": {"application/problem+json": told},
    }


def header_references(*names: str) -> dict[str, dict[str, str]]:
    """An answer's headers: each is described once for all answers."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _name(codes: set[str]) -> str:
    """What the document calls an answer that is one of these problems."""
    if codes >= _FORBIDDEN:
        codes = codes - _FORBIDDEN | {errors.Forbidden.code}
    return "Or".join(code.title().replace("_", "") for code in sorted(codes))


def _example(kind: type[DomainError], *, body: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": f"urn:insula:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
    }
    if kind is errors.PermissionMissing:
        told["permission"] = "projects:write"
    if kind.pointer is None or not body:
        return told
    return told | {"errors": [{"pointer": kind.pointer, "code": kind.code, "detail": kind.title}]}
