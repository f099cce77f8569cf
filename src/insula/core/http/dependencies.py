"""What handlers may ask for. None of these awaits the database: a request's statements belong to its handler."""

from typing import Annotated, Any, Final, get_type_hints

from litestar import Litestar
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import Scope
from msgspec import Meta

from insula.core.db import Transaction
from insula.core.errors import PreconditionRequired
from insula.core.etags import ETags
from insula.core.http.door import DB
from insula.core.http.preconditions import sent_tags, tags_of
from insula.core.listing import DEFAULT_LIMIT, MAX_LIMIT, PageRequest
from insula.core.permissions import Principal


def provide_db(scope: Scope) -> Transaction:
    """The request's transaction, entered."""
    transaction: Transaction = scope[DB]  # type: ignore[typeddict-item]
    return transaction


def provide_principal(scope: Scope) -> Principal:
    """Who acts."""
    principal: Principal = scope["user"]
    return principal


def provide_page(
    scope: Scope,
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT), QueryParameter(description="Rows per page.")] = DEFAULT_LIMIT,
    cursor: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2000)] | None,
        QueryParameter(description="next_cursor of the last page."),
    ] = None,
    sort: Annotated[
        str | None,
        QueryParameter(
            max_length=40, description="A field; with - for descending. Newest first, where nothing is said."
        ),
    ] = None,
) -> PageRequest:
    """Which page is asked for."""
    keys: list[bytes] = scope["litestar_app"].state.keyring.cursors
    return PageRequest(keys=keys, route=scope["path_template"], limit=limit, cursor=cursor, sort=sort)


def provide_version(
    scope: Scope,
    if_match: Annotated[
        str | None,
        HeaderParameter(
            name="If-Match",
            description=(
                "The ETag you read, one of several, or * for any version; a weak one (`W/`) is that of none. "
                "Without it the answer is 428."
            ),
        ),
    ] = None,
) -> ETags | None:
    """The versions a write may be based on; None for ``If-Match: *`` (RFC 9110, section 13.1.1).

    Raises PreconditionRequired (428) without the header: blind writes lose updates.
    """
    if if_match is None:
        raise PreconditionRequired
    return tags_of(sent_tags(scope))


def provide_version_if_sent(
    scope: Scope,
    if_match: Annotated[
        str | None,
        HeaderParameter(
            name="If-Match",
            description="The ETag you read, where nothing is to happen to any other version: the answer is 412 then.",
        ),
    ] = None,
) -> ETags | None:
    """The versions an action insists on; None for any. It loses no update of others, and so may do without."""
    return None if if_match is None else tags_of(sent_tags(scope))


DEPENDENCIES: Final = {
    "db": Provide(provide_db, sync_to_thread=False),
    "principal": Provide(provide_principal, sync_to_thread=False),
    "page": Provide(provide_page, sync_to_thread=False),
    "version": Provide(provide_version, sync_to_thread=False),
    "version_if_sent": Provide(provide_version_if_sent, sync_to_thread=False),
}
_OF_DEPENDENCIES: Final = {
    name: hint
    for provided in DEPENDENCIES.values()
    for name, hint in get_type_hints(provided.dependency, include_extras=True).items()
    if name not in {"scope", "return"}
}


def hints_of(handler: HTTPRouteHandler) -> dict[str, Any]:
    """The annotations of what a handler and all dependencies take, and of what the handler returns."""
    return _OF_DEPENDENCIES | get_type_hints(handler.fn, include_extras=True)


def provide_in_order(app: Litestar) -> None:
    """Make one dependency after the other: Litestar would start a task for each, and none of ours ever waits."""
    for route in app.routes:
        for _, parameters in getattr(route, "route_handler_map", {}).values():
            parameters.dependency_batches = [{one} for batch in parameters.dependency_batches for one in batch]
