"""At start: a list takes from its query what its Listing offers. Anything else would be a 500, once somebody asks."""

from typing import Any, Final

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from insula.core.http.guard import declared_routes
from insula.core.http.openapi import LISTING
from insula.core.http.parameters import QUERY_TYPES
from insula.core.listing import Listing

_OF_EVERY_PAGE: Final = frozenset({"limit", "cursor", "sort"})


class NotOffered(Exception):
    """A list takes what its Listing does not offer: the program does not start."""


def refuse_not_offered(app: Litestar) -> None:
    """Raises NotOffered. Each handler must know its query's parameters by then."""
    for method, path, handler in declared_routes(app):
        if wrong := _wrong(handler):
            raise NotOffered(f"{method} {path}: {handler.handler_name} {wrong}")


def _wrong(handler: HTTPRouteHandler) -> str | None:
    listing: Listing[Any] | None = handler.opt.get(LISTING)
    if listing is None:
        return None
    beside = sorted(set(handler.opt.get(QUERY_TYPES, ())) - _OF_EVERY_PAGE - set(listing.filters))
    if beside:
        filters = ", ".join(listing.filters) or "none"
        return f"takes {', '.join(beside)}, which its Listing does not offer; it has the filters {filters}"
    if listing.default not in listing.offered:
        offered = ", ".join(listing.offered)
        return f"is sorted by {listing.default}, which its Listing does not offer; it has the sorts {offered}"
    return None
