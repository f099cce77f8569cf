"""Between guard and handler: nothing unknown in the query, a body as documented, nothing done twice."""

from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from litestar import Litestar, Request, Response
from litestar.enums import ParamType
from msgspec import inspect

from insula.core.errors import FieldError, InvalidRequest, Wrong
from insula.core.http.bodies import read_body
from insula.core.http.complaints import WHOLE, complaint_about_text
from insula.core.http.dependencies import hints_of
from insula.core.http.idempotency import replay
from insula.core.http.methods import options_of
from insula.core.http.openapi import LISTING
from insula.core.http.preconditions import refuse_untagged
from insula.core.ids import formed
from insula.core.listing import Listing

_LONGEST: Final = 8192
_MOST: Final = 32

QUERY_TYPES: Final = "query_types"
"""Handler option: the query parameters its operation knows, and what each must be.

Litestar converts them as well, but in ``T | None`` it forgets what T was annotated with: patterns, lengths, offsets.
"""


def learn_queries(app: Litestar) -> None:
    """Run at start-up: tells each handler which query parameters it knows."""
    for route in app.routes:
        for method, (handler, taken) in getattr(route, "route_handler_map", {}).items():
            if method == "OPTIONS":  # Litestar's own handler
                continue
            hints = hints_of(handler)
            handler.opt[QUERY_TYPES] = {
                each.field_alias: present(hints.get(each.field_name, Any))
                for each in taken.expected_query_params
                if each.param_type is ParamType.QUERY
            }


async def before_handler(request: Request[Any, Any, Any]) -> Response[Any] | None:
    """Refuse what is unknown, wrong or given twice in query and body, and idle conditions; answer repeats."""
    if request.method == "OPTIONS":
        return options_of(request)
    if request.scope["query_string"]:
        _refuse_wrong(request)
    refuse_untagged(request)
    await read_body(request)
    return replay(request)


def present(annotation: Any) -> Any:
    """What a parameter must be when it is there: ``null`` is a text like any other, and an id has its form."""
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if get_origin(bare) not in {Union, UnionType}:
        return formed(annotation)
    return formed(reduce(or_, (kind for kind in get_args(bare) if kind is not type(None))))


def _refuse_wrong(request: Request[Any, Any, Any]) -> None:
    sent = request.scope["query_string"]
    if len(sent) > _LONGEST or sent.count(b"&") >= _MOST:  # the framework remembers a thousand that it has read
        raise InvalidRequest.about("query", Wrong.TOO_LONG, f"at most {_LONGEST} bytes and {_MOST} parameters")
    known: dict[str, Any] = request.route_handler.opt.get(QUERY_TYPES, {})
    listing: Listing[Any] | None = request.route_handler.opt.get(LISTING)
    wrong = []
    for name in dict.fromkeys(request.query_params):  # in the order in which they were sent
        values = request.query_params.getall(name)
        if name not in known:
            wrong.append(FieldError(f"query/{name[:100]}", Wrong.UNKNOWN, "unknown parameter"))
        elif len(values) > 1:
            wrong.append(FieldError(f"query/{name}", Wrong.REPEATED, "given more than once"))
        elif not _is_valid(values[0], known[name]):
            wrong.append(complaint_about_text(values[0], known[name], f"query/{name}"))
        elif name == "sort" and listing is not None and (refused := listing.refused(values[0])) is not None:
            wrong.append(refused)
    if wrong:
        raise InvalidRequest(errors=wrong[:20])


def _is_valid(text: str, annotation: Any) -> bool:
    kind = _kind_of(annotation)
    if isinstance(kind, inspect.IntType) and not WHOLE.fullmatch(text):  # msgspec takes 5.0 and 1e1 for numbers as well
        return False
    try:
        # As text where it is text in JSON too: otherwise msgspec would read seconds since 1970 as a moment.
        msgspec.convert(text, annotation, strict=isinstance(kind, inspect.StrType | inspect.DateTimeType))
    except msgspec.ValidationError:
        return False
    return True


@cache
def _kind_of(annotation: Any) -> inspect.Type:
    kind = inspect.type_info(annotation)
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind
