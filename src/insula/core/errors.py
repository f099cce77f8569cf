"""Everything that can go wrong, with the answer it deserves (RFC 9457)."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

import msgspec
from msgspec import Meta


class Wrong(StrEnum):
    """What can be wrong with a value, whichever field it is in."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    """There is no field or parameter of this name."""
    REPEATED = "repeated"
    WRONG_TYPE = "wrong_type"
    MALFORMED = "malformed"
    NOT_OFFERED = "not_offered"
    """It is not one of those that can be chosen."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_LOW = "too_low"
    TOO_HIGH = "too_high"
    GUESSABLE = "guessable"
    """A new password that others would come to early."""
    UNCHANGED = "unchanged"
    """A new password that is the one in use."""
    NO_SUCH = "no_such"
    """It names something that is not there, or is somebody else's."""


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with the request: where (a JSON pointer, or `query/name`, `header/name`) and what."""

    pointer: str
    code: Annotated[
        str,
        Meta(
            description="For programs: a problem's own `code`, or one of "
            + ", ".join(f"`{each}`" for each in Wrong)
            + ".",
            examples=[Wrong.TOO_LONG.value],
        ),
    ]
    detail: Annotated[str, Meta(description="For people.")]


class DomainError(Exception):
    """A refusal. ``detail`` is for the caller; ``private`` only for the log."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"
    pointer: ClassVar[str | None] = None
    """The body's field that is to blame, where it is always the same one; where no body is taken, nobody is told."""
    permission: str | None = None
    """The one that the caller's role lacks, where that is why."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
        private: str | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = errors or ([self.at(self.pointer)] if self.pointer else ())
        self.headers = headers or {}
        self.private = private

    @classmethod
    def at(cls, pointer: str) -> FieldError:
        """This refusal, told of one field."""
        return FieldError(pointer, cls.code, cls.title)


class InvalidRequest(DomainError):
    status, code, title = 400, "invalid_request", "The request is malformed"

    @classmethod
    def about(cls, pointer: str, code: Wrong, detail: str) -> Self:
        """The refusal of a request in which one thing is wrong."""
        return cls(errors=[FieldError(pointer, code, detail)])


class Unauthenticated(DomainError):
    """RFC 6750, section 3: a 401 says which scheme would do."""

    status, code, title = 401, "unauthenticated", "A valid credential is needed"

    def __init__(self, detail: str | None = None, *, private: str | None = None) -> None:
        super().__init__(detail, headers={"www-authenticate": "Bearer"}, private=private)


class Forbidden(DomainError):
    status, code, title = 403, "forbidden", "You may not do this"


class PermissionMissing(Forbidden):
    code, title = "permission_missing", "Your role lacks the permission for this"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs the permission {permission}.")
        self.permission = permission


class MembershipSuspended(Forbidden):
    code, title = "membership_suspended", "Your membership of this organization is suspended"


class OrganizationSuspended(Forbidden):
    code, title = "organization_suspended", "This organization is suspended"


class CrossSite(Forbidden):
    """A request with the session cookie that any page could have had the browser send."""

    code, title = "cross_site", "With the session cookie, the request must show that the product's own page sent it"


class NotFound(DomainError):
    """Also the answer to strangers: what you may not see does not exist."""

    status, code, title = 404, "not_found", "There is no such resource"


class MethodNotAllowed(DomainError):
    status, code, title = 405, "method_not_allowed", "The resource does not support this method"


class RequestTimeout(DomainError):
    status, code, title = 408, "request_timeout", "The request's body took too long to arrive"


class Conflict(DomainError):
    status, code, title = 409, "conflict", "The request conflicts with the resource's state"


class NotDead(Conflict):
    code, title = "not_dead", "Only a dead letter can be retried or discarded"


class NotDeleted(Conflict):
    """There is nothing to restore: also to who restores it twice."""

    code, title = "not_deleted", "It is not deleted, or has been restored already"


class PreconditionFailed(DomainError):
    """RFC 9110, section 13.1.1."""

    status, code, title = 412, "precondition_failed", "The resource has changed since you read it"


class TooLarge(DomainError):
    status, code, title = 413, "too_large", "The request body is too large"


class UnsupportedMediaType(DomainError):
    status, code, title = 415, "unsupported_media_type", "The body must be application/json"


class Unprocessable(DomainError):
    """Well-formed, but it refers to something that is not there or breaks a rule of the field."""

    status, code, title = 422, "unprocessable", "The request cannot be carried out as written"


class UnknownReference(Unprocessable):
    """The one answer to an id in a body that is malformed, absent or somebody else's."""

    code, title = "unknown_reference", "The request refers to something that does not exist"

    def __init__(self, pointer: str) -> None:
        super().__init__(errors=[FieldError(pointer, Wrong.NO_SUCH, "does not exist")])


class PreconditionRequired(DomainError):
    """RFC 6585, section 3."""

    status, code, title = 428, "precondition_required", "Send the version you read in If-Match"


class RateLimited(DomainError):
    status, code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, retry_after: int, headers: dict[str, str] | None = None, *, reason: str = "") -> None:
        detail = f"{reason} Try again in {retry_after} s.".lstrip()
        super().__init__(detail, headers={"retry-after": str(retry_after), **(headers or {})})
        self.retry_after = retry_after


class Unavailable(DomainError):
    status, code, title = 503, "unavailable", "The service is briefly unavailable; try again"

    def __init__(self, private: str | None = None) -> None:
        super().__init__(headers={"retry-after": "1"}, private=private)


class TimedOut(DomainError):
    status, code, title = 504, "timed_out", "The request took too long and was stopped"


class Overtaken(Exception):
    """What the caller may do changed while this request waited for others: it runs once more, from the door."""


STATEMENT_GONE: Final = "26000"
"""What the driver had prepared is not there: somebody's SQL took it away, and the connection is of no more use."""

REFERENCE_GONE: Final = "23503"
"""What a row was to refer to is not there any more: it went while the row waited for it."""

RERUNNABLE: Final = frozenset({"40001", "40P01", REFERENCE_GONE, STATEMENT_GONE})
"""Serialization failure, deadlock, a reference or a connection lost: nothing happened, and a second run usually
succeeds, or says why not."""

_BY_SQLSTATE: Final[dict[str, type[DomainError]]] = {
    "23505": Conflict,
    REFERENCE_GONE: Conflict,
    "23P01": Conflict,
    "23514": Conflict,
    "22P05": InvalidRequest,  # a NUL in text that JSON allowed and Postgres cannot store
    "22021": InvalidRequest,
    "57014": TimedOut,
    "55P03": Unavailable,
    "25006": Unavailable,  # what was the primary is a standby now
    "40001": Unavailable,
    "40P01": Unavailable,
    STATEMENT_GONE: Unavailable,
}


def sqlstate_of(error: BaseException) -> str | None:
    """The server's code for a driver's error, also where SQLAlchemy has wrapped it."""
    state: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state


def from_sqlstate(sqlstate: str | None, private: str) -> DomainError:
    """Translate a database error once, for everybody; its DETAIL may hold rows and never leaves the log."""
    if sqlstate is None or (sqlstate[:2] in {"08", "57", "53"} and sqlstate != "57014"):
        return Unavailable(private=private)
    error = _BY_SQLSTATE.get(sqlstate)
    if error is None:
        return DomainError(private=private)
    return Unavailable(private=private) if error is Unavailable else error(private=private)
