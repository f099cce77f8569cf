"""Which secret a request carries: a bearer token, or the session cookie with proof that our own page sent it."""

from typing import Final

import msgspec
from litestar.types import HTTPScope, Scope

from insula.core.errors import CrossSite, Unauthenticated
from insula.core.http.headers import values_of
from insula.core.tokens import well_formed

COOKIE: Final = "__Host-insula_session"
SETS_COOKIE: Final = "sets_cookie"
"""Handler option of routes whose answer may carry the session's cookie, or take it away."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Presented(msgspec.Struct, frozen=True):
    """A well-formed secret, not yet known to be live."""

    token: str
    by_cookie: bool


def presented(scope: HTTPScope, origin: str) -> Presented:
    """The request's secret. Raises Unauthenticated without a well-formed one and Forbidden for a forged request.

    ``origin`` is the product's own (``https://app.example.com``). Secrets are read from headers only: in a query
    they would end in logs and Referer headers.
    """
    authorizations = values_of(scope, b"authorization")
    if authorizations:
        scheme, _, token = authorizations[0].partition(" ")
        if len(authorizations) > 1 or scheme.lower() != "bearer":
            raise Unauthenticated("Send one Authorization header with the Bearer scheme.")
        return Presented(_checked(token.strip(" ")), by_cookie=False)
    token = _cookie(values_of(scope, b"cookie"))
    if scope["method"] not in _SAFE:
        refuse_forgery(scope, origin)
    return Presented(_checked(token), by_cookie=True)


def refuse_forgery(scope: HTTPScope, origin: str) -> None:
    """Raise CrossSite for a request that the browser may have sent on behalf of another site's page.

    It sends the session cookie with such requests, and would keep the one of an answer; but they cannot name our
    origin or set headers.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    sent = headers.get(b"origin")
    ours = b"x-requested-with" in headers if sent is None else sent == origin
    if not ours:
        raise CrossSite(f"The session cookie is for the product's own pages: the request must say Origin: {origin}.")
    has_body = headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers
    if has_body and not headers.get(b"content-type", "").startswith("application/json"):
        raise CrossSite("With the session cookie, bodies must be application/json.")


def carries_credential(scope: Scope) -> bool:
    """Whether the request shows any credential at all, good or bad."""
    return any(
        name == b"authorization" or (name == b"cookie" and COOKIE.encode() in value) for name, value in scope["headers"]
    )


def _checked(token: str) -> str:
    if not well_formed(token, "session"):
        raise Unauthenticated
    return token


def _cookie(headers: list[str]) -> str:
    """The session cookie's value, as browsers write it (RFC 6265, section 4.2.1).

    Not by http.cookies, which takes seconds for 60 kB of backslashes.
    """
    # Of blanks only: a name that begins with another space is not ours to a browser, and anybody may set it.
    pairs = (pair.strip(" \t").partition("=") for header in headers for pair in header.split(";"))
    found = [value for name, _, value in pairs if name == COOKIE]
    # Two cookies of one name mean that somebody tossed a second one in; neither is believed.
    if len(found) != 1:
        raise Unauthenticated
    return found[0]
