"""If-Match: what somebody has read, and whether it is still so (RFC 9110, section 13.1.1)."""

from typing import Any, Final

from litestar import Request
from litestar.types import Scope

from insula.core.errors import InvalidRequest, PreconditionFailed, Wrong
from insula.core.http.headers import values_of

TAKEN: Final = frozenset({"version", "version_if_sent"})
"""The dependencies that look at If-Match."""

_SAFE: Final = frozenset({"GET", "HEAD"})


def version_of(sent: list[str]) -> int | None:
    """The version that these headers name; None for ``*``, which is any.

    Raises PreconditionFailed for a tag that nothing here ever has, InvalidRequest for what is none.
    """
    if len(sent) > 1:
        raise InvalidRequest.about("header/If-Match", Wrong.REPEATED, "one ETag, in one header")
    text = sent[0].strip().removeprefix("W/")  # as a proxy may have weakened it: it names a version all the same
    if text == "*":
        return None
    if len(text) > 2 and text[0] == text[-1] == '"' and text[1:-1].isascii() and text[1:-1].isdigit():
        return min(int(text[1:-1][:18]), 2**31)
    if text.startswith('"') and "," not in text:
        raise PreconditionFailed  # a tag of somebody's, but not one that we gave
    raise InvalidRequest.about("header/If-Match", Wrong.MALFORMED, 'an ETag such as "3"')


def sent_versions(scope: Scope) -> list[str]:
    """What a request says in If-Match."""
    return values_of(scope, b"if-match")


def refuse_untagged(request: Request[Any, Any, Any]) -> None:
    """Before a handler that takes no version. Raises PreconditionFailed where a request insists on one.

    Nothing there has an ETag, so none can be the current one: whoever sends one has mistaken the place, and must not
    believe it was looked at. With ``*``, which asks that the resource be there, the handler's own 404 is the answer.
    """
    if request.method in _SAFE or not (sent := sent_versions(request.scope)):
        return
    if not TAKEN & request.route_handler.parsed_fn_signature.parameters.keys() and version_of(sent) is not None:
        raise PreconditionFailed("Nothing here has an ETag.")
