"""The OpenAPI 3.1 document: paths from Litestar, schemas from msgspec, and every answer the house itself can give."""

from collections.abc import Sequence
from inspect import getdoc
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from insula.core import ids
from insula.core.http.authentication import COOKIE
from insula.core.http.dependencies import DEPENDENCIES
from insula.core.http.door import ORGANIZATION
from insula.core.http.guard import declared_routes
from insula.core.http.parameters import QUERY_TYPES
from insula.core.http.problems import ALL, Problem
from insula.core.http.refusals import name_of, refusals_of

SESSION: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"cookie": []}]
"""What a route asks for that wants a session, either way."""

_REF: Final = "#/components/schemas/{name}"
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeating the request with the same key replays the first answer instead of acting again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
    "example": "5f2c1d0e-order-4711",
}
_HEADERS: Final = {
    "X-Request-Id": ("Names the request in our logs.", "string"),
    "RateLimit": ("What is left (draft-ietf-httpapi-ratelimit-headers).", "string"),
    "RateLimit-Policy": ("The limit that applies.", "string"),
    "ETag": ("The version; send it in If-Match when you write.", "string"),
    "Link": ('The next page, rel="next" (RFC 8288).', "string"),
    "Retry-After": ("Seconds to wait.", "integer"),
    "WWW-Authenticate": ("The scheme that would do (RFC 6750).", "string"),
    "Idempotent-Replayed": ("Set when this is the answer to an earlier request with the same key.", "string"),
}


_CONFIG: Final = OpenAPIConfig(
    title="Insula",
    version="1",
    description=(
        "A multi-tenant SaaS backend: organizations, members, teams, invitations, and what you build on them. "
        "Errors are problem details (RFC 9457). Lists are cursor pages. Resources that change carry an ETag."
    ),
    operation_id_creator=lambda handler, *_: handler.handler_name,
)


def describe(app: Litestar, route_handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """The whole document as plain data; also tells each handler of ``app`` which query parameters it knows."""
    # An app of its own: Litestar serves whatever it describes under paths of its choosing.
    described = Litestar(route_handlers, dependencies=DEPENDENCIES, openapi_config=_CONFIG, logging_config=None)
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(described.openapi_schema.to_schema()))
    schemas = _Schemas()
    for method, path, handler in declared_routes(app):
        operation = document["paths"].get(path, {}).get(method.lower())
        if operation is not None:
            _complete(operation, method, path, handler, schemas)
    problem = schemas.of(Problem)
    document["components"] = {
        "schemas": schemas.components(),
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A session token: ins_ses_..."},
            "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "The same, set by sign-in."},
        },
        "headers": {
            name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()
        },
        "responses": {name_of(status): _problem_response(status, problem) for status in ALL},
    }
    document["tags"] = [{"name": tag, "description": text} for tag, text in sorted(_tags(app).items())]
    document["servers"] = [{"url": "/", "description": "This server."}]
    return document


class _Schemas:
    """Schemas as msgspec writes them: of the very types it validates with, so the document cannot disagree."""

    def __init__(self) -> None:
        self._types: list[Any] = []
        self._written: list[dict[str, Any]] = []

    def of(self, annotation: Any) -> dict[str, Any]:
        """A schema that is filled in by ``components``."""
        self._types.append(annotation)
        self._written.append({})
        return self._written[-1]

    def components(self) -> dict[str, Any]:
        schemas, components = msgspec.json.schema_components(self._types, ref_template=_REF)
        for written, schema in zip(self._written, schemas, strict=True):
            written.update(schema)
        return components


def _complete(operation: dict[str, Any], method: str, path: str, handler: HTTPRouteHandler, schemas: _Schemas) -> None:
    hints = get_type_hints(handler.fn, include_extras=True)
    summary, _, rest = (getdoc(handler.fn) or "").partition("\n\n")
    operation["summary"] = " ".join(summary.split())
    operation.pop("description", None)
    if rest:
        operation["description"] = " ".join(rest.split())
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        _refine(parameter, hints)
    handler.opt[QUERY_TYPES] = {
        item["name"]: hints.get(item["name"], Any) for item in parameters if item["in"] == "query"
    }
    private = "public" not in handler.opt
    conditional = any(item["name"].lower() == "if-match" for item in parameters)
    if method == "POST" and private:
        parameters.append(_IDEMPOTENCY_KEY)
    if (permission := handler.opt.get("permission")) is not None:
        operation["x-permission"] = permission.name
    # A public route may check a session itself; it then says so in its declaration.
    operation["security"] = SESSION if private else operation.get("security", [])
    if "data" in hints:
        operation["requestBody"]["content"] = {"application/json": {"schema": schemas.of(hints["data"])}}
    _answer(operation, method, _content_of(hints["return"]), schemas)
    for status in refusals_of(method, path, handler, conditional=conditional):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name_of(status)}"}


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
        schema |= definitions[reference.rpartition("/")[2]]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if schema.get("default", ...) is None:
        del schema["default"]
    parameter["schema"] = schema


def _content_of(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Response else annotation


def _answer(operation: dict[str, Any], method: str, content: Any, schemas: _Schemas) -> None:
    names = ["X-Request-Id", "RateLimit", "RateLimit-Policy"]
    names += ["ETag"] if method != "DELETE" else []
    names += {"GET": ["Link"], "POST": ["Idempotent-Replayed"]}.get(method, [])
    for status, response in operation["responses"].items():
        if status[0] != "2":
            continue
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        if content is not type(None) and "content" in response:
            response["content"] = {"application/json": {"schema": schemas.of(content)}}


def _problem_response(status: int, schema: dict[str, Any]) -> dict[str, Any]:
    error = ALL[status]
    names = ["X-Request-Id"]
    names += ["Retry-After"] if status in {409, 429, 503} else []
    names += ["WWW-Authenticate"] if status == 401 else []
    return {
        "description": f"{error.title}.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {
            "application/problem+json": {
                "schema": schema,
                "example": {
                    "type": f"urn:insula:problem:{error.code}",
                    "title": error.title,
                    "status": status,
                    "code": error.code,
                },
            }
        },
    }


def _tags(app: Litestar) -> dict[str, str]:
    """Each tag, described by the docstring of the first controller that carries it."""
    tags: dict[str, str] = {}
    for _, _, handler in declared_routes(app):
        for tag in handler.resolve_tags() if handler.resolve_include_in_schema() else ():
            tags.setdefault(tag, getdoc(type(handler.owner)) or tag if handler.owner else tag)
    return tags
