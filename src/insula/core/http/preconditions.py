"""If-Match: what somebody has read, and whether it is still so (RFC 9110, section 13.1.1)."""

import re
from typing import Any, Final

from litestar import Request
from litestar.types import Scope

from insula.core.errors import InvalidRequest, PreconditionFailed, Wrong
from insula.core.etags import ETags
from insula.core.http.headers import values_of

TAKEN: Final = frozenset({"version", "version_if_sent"})
"""The dependencies that look at If-Match."""

_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_LIST: Final = re.compile(rf"[ \t,]*{_TAG.pattern}(?:[ \t]*,[ \t,]*{_TAG.pattern})*[ \t,]*")
"""Parts of a list may be empty (RFC 9110, section 5.6.1)."""

_SAFE: Final = frozenset({"GET", "HEAD"})


def tags_of(sent: list[str]) -> ETags | None:
    """The tags that these headers list, however many there are (section 5.3); None for ``*``, which is any.

    Weak ones are left out, for they match nothing here (section 8.8.3.2): who has one, because something in between
    made it so, read the answer in another form than the one that the tag names. Raises InvalidRequest for what is no
    list of tags.
    """
    text = ",".join(sent).strip()
    if text == "*":
        return None
    if _LIST.fullmatch(text) is None:
        raise InvalidRequest.about("header/If-Match", Wrong.MALFORMED, 'ETags such as "3", or *')
    return frozenset(tag for weak, tag in _TAG.findall(text) if not weak)


def sent_tags(scope: Scope) -> list[str]:
    """What a request says in If-Match."""
    return values_of(scope, b"if-match")


def refuse_untagged(request: Request[Any, Any, Any]) -> None:
    """Before a handler that takes no version. Raises PreconditionFailed where a request insists on one.

    Nothing there has an ETag, so none can be the current one: whoever sends one has mistaken the place, and must not
    believe it was looked at. With ``*``, which asks that the resource be there, the handler's own 404 is the answer.
    """
    if request.method in _SAFE or not (sent := sent_tags(request.scope)):
        return
    if not TAKEN & request.route_handler.parsed_fn_signature.parameters.keys() and tags_of(sent) is not None:
        raise PreconditionFailed("Nothing here has an ETag.")
