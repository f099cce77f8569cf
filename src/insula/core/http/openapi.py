"""The OpenAPI 3.1 document: paths from Litestar, schemas from msgspec, and every answer the house itself can give."""

from collections.abc import Sequence
from inspect import getdoc
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import License
from litestar.types import ControllerRouterHandler

from insula.core import ids
from insula.core.http.access_log import PROBES
from insula.core.http.answer_headers import DEPRECATION
from insula.core.http.authentication import COOKIE, SETS_COOKIE
from insula.core.http.creations import has_address
from insula.core.http.dependencies import DEPENDENCIES, hints_of
from insula.core.http.door import ORGANIZATION
from insula.core.http.examples import example_of
from insula.core.http.guard import declared_routes
from insula.core.http.idempotency import takes_key
from insula.core.http.methods import creations_of
from insula.core.http.problems import Problem
from insula.core.http.refusals import ENCODING, LIMIT_HEADERS, RefusalResponses, header_references
from insula.core.http.schema_components import Schemas, portable
from insula.core.listing import Listing, Page

SESSION: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"cookie": []}]
"""What a route asks for that wants a session, either way."""

LISTING: Final = "listing"
"""Handler option of every list: its ``Listing``, whose sorts and filters the document shows."""

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Repeating the request with the same key replays the first answer instead of acting again, for a day. "
        "Refusals are not kept: the same key tries again. Who has left, or ended the session that asks, is refused. "
        "A key belongs to one session in one organization, or outside of all: after signing in again, of somebody "
        "else or in another organization the same text is another key. With another path, query, `If-Match` or body "
        "it is refused with 422 `idempotency_key_reused`."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x2b\\x2d-\\x7e]+$"},
    "example": "5f2c1d0e-order-4711",
}
_HEADERS: Final = {
    "X-Request-Id": ("Names the request in our logs.", "string"),
    "RateLimit": (
        "What is left (draft-ietf-httpapi-ratelimit-headers); not told of a credential that is none.",
        "string",
    ),
    "RateLimit-Policy": ("The limit that applies.", "string"),
    "ETag": ("Changes with all that is shown, also by time; for If-Match in writes, else If-None-Match.", "string"),
    "Location": ("Where the new resource is.", "string"),
    "Link": ('The next page, rel="next" (RFC 8288).', "string"),
    "Retry-After": ("Seconds to wait.", "integer"),
    "WWW-Authenticate": ("The scheme that would do (RFC 6750).", "string"),
    "Set-Cookie": ("The session, where a cookie is to carry it; or its end.", "string"),
    "Deprecation": ("Since when clients should use something else (RFC 9745).", "string"),
    "Sunset": ("When this stops to answer (RFC 8594).", "string"),
    "Content-Encoding": ("`zstd` or `gzip`, of longer answers to whom `Accept-Encoding` says takes it.", "string"),
    "Idempotent-Replayed": ("Set when this is the answer to an earlier request with the same key.", "string"),
}


_BEARER: Final = "A session token, ins_ses_..., as POST /v1/auth/sign-in answers it."
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag you have; 304 says that it is the current one.",
    "schema": {"type": "string"},
    "example": '"3"',
}
_DONE: Final = {"200": "Done.", "201": "Made.", "202": "On its way.", "204": "Done; there is nothing to show."}

_CONFIG: Final = OpenAPIConfig(
    title="Insula",
    version="1",
    license=License(name="Apache 2.0", identifier="Apache-2.0"),
    description=(
        "A multi-tenant SaaS backend: organizations, members, teams, invitations, and what you build on them. "
        "Errors are problem details (RFC 9457), and each operation lists the codes of its own. "
        'Lists are cursor pages. Resources that change carry an ETag, which is `"<version>"` for all but '
        "invitations; where nothing does, an ETag in the `If-Match` of a request that changes something is refused "
        "with 412. A method that a path does not have is answered 405; what the server cannot take for a request "
        "reaches no operation and is answered without a body, 400, 408, 414 or 431.\n\n"
        "To sign in, send e-mail address and password to `POST /v1/auth/sign-in`, and the `token` of its answer with "
        "every request, as `Authorization: Bearer ins_ses_...`; in the interactive documentation, put it under "
        "*Authorize*. Who has no account begins with `POST /v1/auth/sign-up`; `insula up` prints demo accounts."
    ),
    operation_id_creator=lambda handler, *_: handler.handler_name,
)


def describe(app: Litestar, route_handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """The whole document as plain data."""
    # An app of its own: Litestar serves whatever it describes under paths of its choosing.
    described = Litestar(route_handlers, dependencies=DEPENDENCIES, openapi_config=_CONFIG, logging_config=None)
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(described.openapi_schema.to_schema()))
    schemas, creations = Schemas(), creations_of(app)
    refusals = RefusalResponses(schemas.of(Problem))
    for method, path, handler in declared_routes(app):
        operation = document["paths"].get(path, {}).get(method.lower())
        if operation is not None:
            _complete(operation, method, handler, schemas)
            operation["responses"] |= refusals.of(method, path, operation, handler.opt)
            if method == "POST" and has_address(creations.get(path, "")):
                operation["responses"]["201"]["headers"] |= header_references("Location")
            if method == "GET" and "/deleted-" in path:
                _show_deleted(operation)
    document["components"] = {
        "schemas": schemas.components(),
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
            "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "The same, set by sign-in."},
        },
        "headers": _headers(msgspec.json.encode([document["paths"], refusals.components])),
        "responses": dict(sorted(refusals.components.items())),
    }
    document["tags"] = [{"name": tag, "description": text} for tag, text in sorted(_tags(route_handlers).items())]
    document["servers"] = [{"url": "/", "description": "This server."}]
    return portable(document)


def _headers(used_in: bytes) -> dict[str, Any]:
    """The headers that the rest of the document refers to."""
    return {
        name: {"description": text, "schema": {"type": kind}}
        for name, (text, kind) in _HEADERS.items()
        if f'/headers/{name}"'.encode() in used_in
    }


def _complete(operation: dict[str, Any], method: str, handler: HTTPRouteHandler, schemas: Schemas) -> None:
    hints = hints_of(handler)
    summary, _, rest = (getdoc(handler.fn) or "").partition("\n\n")
    operation["summary"] = " ".join(summary.split())
    operation.pop("description", None)
    if rest:
        operation["description"] = " ".join(rest.split())
    parameters = operation.setdefault("parameters", [])
    listing: Listing[Any] | None = handler.opt.get(LISTING)
    for parameter in parameters:
        _refine(parameter, hints)
        _in_query(parameter, listing)
    if DEPRECATION in handler.opt:
        operation["deprecated"] = True
    private = "public" not in handler.opt
    for parameter in parameters:
        if parameter["name"] == "If-Match" and "version" in hints:
            parameter["required"] = True  # its absence has an answer of its own
    if method == "POST" and takes_key(handler):
        parameters.append(_IDEMPOTENCY_KEY)
    if (permission := handler.opt.get("permission")) is not None:
        operation["x-permission"] = permission.name
    # A public route may check a session itself; it then says so in its declaration.
    operation["security"] = SESSION if private else operation.get("security", [])
    if "data" in hints:
        body = {"schema": schemas.of(hints["data"]), "example": example_of(hints["data"])}
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
    returned = hints["return"]
    _answer(operation, handler, returned, schemas)
    if method == "GET" and "version" in getattr(returned, "__struct_fields__", ()):
        parameters.append(_IF_NONE_MATCH)
        headers = {name: told for name, told in operation["responses"]["200"]["headers"].items() if name != ENCODING}
        operation["responses"]["304"] = {"description": "You have the current version.", "headers": headers}


def _refine(parameter: dict[str, Any], hints: dict[str, Any]) -> None:
    """What msgspec knows about a parameter's type; an absent parameter is absent, not null."""
    for noise in ("deprecated", "allowEmptyValue", "allowReserved"):
        parameter.pop(noise, None)
    schema, name = parameter["schema"], parameter["name"]
    hints = {ORGANIZATION: Annotated[str, ids.describe("org", "the organization")]} | hints
    if name in hints:
        own = {key: value for key, value in schema.items() if key not in {"oneOf", "type", "enum"}}
        schema = msgspec.json.schema(hints[name]) | own
    for union in ("oneOf", "anyOf"):
        kinds = [kind for kind in schema.pop(union, []) if kind.get("type") != "null"]
        schema |= kinds[0] if len(kinds) == 1 else {union: kinds} if kinds else {}
    definitions = schema.pop("$defs", {})
    if (reference := schema.pop("$ref", None)) is not None:  # an enum's name; a parameter says its values
        enum = definitions[reference.rpartition("/")[2]]
        schema |= {key: value for key, value in enum.items() if key != "description"}
    if "enum" in schema:
        schema["type"] = "string"
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if schema.get("default", ...) is None:
        del schema["default"]
    parameter["schema"] = {key: int(value) if isinstance(value, float) else value for key, value in schema.items()}
    # Where tools look for it first.
    if (description := schema.pop("description", None)) is not None:
        parameter.setdefault("description", description)


def _in_query(parameter: dict[str, Any], listing: Listing[Any] | None) -> None:
    """What the list offers, in the words of the document."""
    name = parameter["name"]
    if listing is not None and name == "sort":
        parameter["schema"] = {"type": "string", "enum": list(listing.offered), **listing.always}
    elif listing is not None and name in listing.filters and parameter["in"] == "query":
        meaning, form = listing.filters[name].MEANING.format(name=name), parameter.get("description")
        parameter["description"] = f"{meaning} {form}" if form else meaning


def _answer(operation: dict[str, Any], handler: HTTPRouteHandler, annotation: Any, schemas: Schemas) -> None:
    content = get_args(annotation)[0] if get_origin(annotation) is Response else annotation
    names = ["X-Request-Id", *(() if handler.paths & PROBES else LIMIT_HEADERS)]
    names += ["ETag"] if "version" in getattr(content, "__struct_fields__", ()) else []
    names += ["Link"] if get_origin(content) is Page else []
    names += ["Idempotent-Replayed"] if _IDEMPOTENCY_KEY in operation["parameters"] else []
    names += ["Set-Cookie"] if SETS_COOKIE in handler.opt else []
    names += ["Deprecation", "Sunset"] if operation.get("deprecated") else []
    for status, response in operation["responses"].items():
        if status[0] == "4":
            continue  # a refusal, which has a place of its own
        other = (handler.responses or {}).get(int(status))
        kind = content if other is None else other.data_container
        response["description"] = _DONE[status] if other is None else other.description
        response["headers"] = header_references(*names)
        if kind in {None, type(None)}:
            response.pop("content", None)
        elif not (isinstance(kind, type) and issubclass(kind, Response)):  # a stream says nothing of its content
            body = {"schema": schemas.of(kind), "example": example_of(kind)}
            response["content"] = {"application/json": body}
            response["headers"] |= header_references(ENCODING)


def _show_deleted(operation: dict[str, Any]) -> None:
    """What did not happen to others did happen to the rows of this list."""
    for row in operation["responses"]["200"]["content"]["application/json"]["example"]["data"]:
        row["deleted_at"] = row["updated_at"]


def _tags(route_handlers: Sequence[ControllerRouterHandler]) -> dict[str, str]:
    """Each tag, described by the docstring of the first controller that carries it."""
    tags: dict[str, str] = {}
    for handler in route_handlers:
        for tag in getattr(handler, "tags", None) or ():
            tags.setdefault(tag, (getdoc(handler) if isinstance(handler, type) else None) or f"{tag}.")
    return tags
