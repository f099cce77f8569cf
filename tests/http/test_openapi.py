"""The document: valid, complete, and usable by programs that never saw ours."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_origin, get_type_hints

import jsonschema
import jsonschema_rs
import msgspec
from litestar import Litestar
from openapi_spec_validator import OpenAPIV31SpecValidator

from insula.core.http.access_log import PROBES
from insula.core.http.examples import example_of
from insula.core.http.guard import declared_routes
from insula.core.http.openapi import LISTING
from insula.core.listing import Page
from tests.http.conftest import Operation

SNAKE = re.compile(r"[a-z]+(_[a-z]+)*")
PARAMETERS = re.compile(r"\{(\w+)\}")


def schemas_in(node: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema, and where it stands."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"schema", "items", "additionalProperties"} and isinstance(value, dict):
                yield f"{path}/{key}", value
            if key == "properties":
                yield from ((f"{path}/{key}/{name}", schema) for name, schema in value.items())
            if key not in {"example", "examples"}:
                yield from schemas_in(value, f"{path}/{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from schemas_in(value, f"{path}/{number}")


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_every_moment_is_said_to_be_one(document: dict[str, Any]) -> None:
    moments = [
        (path, kind.get("format"))
        for path, schema in schemas_in(document)
        for kind in schema.get("anyOf", [schema])
        if path.endswith(("_at", "_until")) and kind.get("type") == "string"
    ]
    assert len(moments) > 20
    assert [path for path, form in moments if form != "date-time"] == []


def test_every_route_is_described_and_nothing_else(litestar: Litestar, operations: list[Operation]) -> None:
    routes = {
        (method.lower(), path)
        for method, path, handler in declared_routes(litestar)
        if handler.resolve_include_in_schema()
    }
    assert {(method, path) for method, path, _ in operations} == routes


def test_every_operation_has_a_name_a_summary_and_a_described_tag(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(names) == len(set(names))
    for _, path, operation in operations:
        assert SNAKE.fullmatch(operation["operationId"])
        assert 5 < len(operation["summary"]) <= 120, path
        assert operation["summary"].endswith("."), path
        (tag,) = operation["tags"]
        assert 5 < len(tags[tag]) <= 200
    assert set(tags) == {operation["tags"][0] for _, _, operation in operations}


def test_every_operation_says_who_may_call_it(litestar: Litestar, operations: list[Operation]) -> None:
    handlers = {(method.lower(), path): handler for method, path, handler in declared_routes(litestar)}
    for method, path, operation in operations:
        opt = handlers[method, path].opt
        permission = opt.get("permission")
        assert operation.get("x-permission") == (permission.name if permission else None)
        if "public" not in opt:
            assert operation["security"] == [{"bearer": []}, {"cookie": []}]
        assert "security" in operation


def test_every_parameter_is_described_and_typed(operations: list[Operation]) -> None:
    for _, path, operation in operations:
        parameters = operation["parameters"]
        for parameter in parameters:
            assert parameter.get("description"), (path, parameter["name"])
            assert parameter["schema"].get("type"), (path, parameter["name"])
            insists = parameter["name"] == "If-Match" and "428" in operation["responses"]
            assert parameter["required"] == (parameter["in"] == "path" or insists)
        named = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        assert named == set(PARAMETERS.findall(path)), path


def test_every_list_shows_its_sorts_and_offers_all_of_its_filters(
    litestar: Litestar, operations: list[Operation]
) -> None:
    described = {(method, path): operation for method, path, operation in operations}
    for method, path, handler in declared_routes(litestar):
        if get_origin(get_type_hints(handler.fn).get("return")) is not Page:
            assert LISTING not in handler.opt
            continue
        assert LISTING in handler.opt, f"{path} does not say its listing="
        listing = handler.opt[LISTING]
        query = {each["name"]: each for each in described[method.lower(), path]["parameters"] if each["in"] == "query"}
        assert tuple(query["sort"]["schema"]["enum"]) == listing.offered
        searched = [name for name in listing.filters if name.endswith("_prefix")]
        assert query["sort"]["schema"].get("default") == (None if searched else listing.default), (
            "clients would send it"
        )
        bound_by_path = set(PARAMETERS.findall(path))
        assert set(listing.filters) - bound_by_path == set(query) - {"limit", "cursor", "sort"}, path


def test_a_newcomer_learns_how_to_sign_in_and_what_is_asked_for(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    assert "`POST /v1/auth/sign-in`" in document["info"]["description"]
    assert "/v1/auth/sign-in" in document["components"]["securitySchemes"]["bearer"]["description"]
    schemas = document["components"]["schemas"]
    assert "at least 15 characters" in schemas["SignUp"]["properties"]["password"]["description"]
    headers = [each for _, _, operation in operations for each in operation["parameters"] if each["name"] == "If-Match"]
    assert headers
    assert all(("Without it the answer is 428" in each["description"]) == each["required"] for each in headers)
    assert all("412" in each["description"] for each in headers if not each["required"])


def test_patterns_are_those_of_json_schema(document: dict[str, Any]) -> None:
    assert "$(?!" not in json.dumps(document)


def test_patterns_are_read_by_tools_that_know_no_surrogates(document: dict[str, Any]) -> None:
    """Rust's and Go's regular expressions refuse them, and what cannot read a pattern may go on without it."""
    assert [pattern for pattern in patterns_in(document) if r"\ud8" in pattern.lower()] == []
    assert [pattern for pattern in patterns_in(document) if max(pattern) > "\uffff"] == [], "JavaScript's see halves"
    for pattern in patterns_in(document):
        jsonschema_rs.validator_for({"type": "string", "pattern": pattern})


def patterns_in(document: dict[str, Any]) -> list[str]:
    found = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(document))
    assert len(found) > 20
    return [json.loads(pattern) for pattern in found]


def test_examples_are_of_the_right_kind(operations: list[Operation]) -> None:
    examples = {
        operation["operationId"]: operation["requestBody"]["content"]["application/json"]["example"]
        for _, _, operation in operations
        if "requestBody" in operation
    }
    assert examples["sign_up"]["name"] == examples["update_own_member"]["name"] == "Ada Lovelace"
    assert examples["create_organization"]["name"] == "Acme"
    assert examples["create_project"]["name"] == "Website relaunch"
    tokens = {name: body["token"][:8] for name, body in examples.items() if "token" in body}
    assert tokens == {
        "verify_sign_up": "ins_ver_",
        "reset_password": "ins_rst_",
        "preview_invitation": "ins_inv_",
        "join_by_invitation": "ins_inv_",
        "decline_invitation": "ins_inv_",
        "accept_invitation": "ins_inv_",
    }


def test_every_body_has_an_example_that_fits(document: dict[str, Any], operations: list[Operation]) -> None:
    for method, path, operation in operations:
        if "requestBody" not in operation:
            assert method != "patch", path
            continue
        assert operation["requestBody"]["required"] is True
        (media,) = operation["requestBody"]["content"].values()
        schema = {**media["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(media["example"])
        assert media["example"]


def test_every_answer_has_an_example_that_fits(document: dict[str, Any], operations: list[Operation]) -> None:
    shown = 0
    for method, path, operation in operations:
        for status, answer in operation["responses"].items():
            media = answer.get("content", {}).get("application/json")
            if media is not None:
                schema = {**media["schema"], "components": document["components"]}
                jsonschema.Draft202012Validator(schema).validate(media["example"])
                assert "text" not in texts_of(media["example"]), (method, path, status, media["example"])
                shown += 1
    assert shown > 45


def texts_of(value: Any) -> list[str]:
    """Every text in a document; `text` is what stands where nobody thought of an example."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for part in parts for text in texts_of(part)]


def test_every_example_is_taken_by_the_program_itself(litestar: Litestar) -> None:
    for _, _, handler in declared_routes(litestar):
        hints = get_type_hints(handler.fn, include_extras=True)
        if "data" in hints:
            msgspec.convert(example_of(hints["data"]), hints["data"])


def test_every_answer_is_declared_with_its_content_and_headers(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    components = document["components"]["responses"]
    for method, path, operation in operations:
        good = [status for status in operation["responses"] if status[0] == "2"]
        assert len(good) == 1, path
        response = operation["responses"][good[0]]
        assert ("content" in response) == (good[0] != "204"), path
        assert "X-Request-Id" in response["headers"], path
        assert ("304" in operation["responses"]) == any(p["name"] == "If-None-Match" for p in operation["parameters"])
        refused = {status for status, told in operation["responses"].items() if "$ref" in told}
        assert operation["operationId"] == "get_readiness" or set(operation["responses"]) - refused <= {*good, "304"}
        assert {"400", "500"} <= refused
        assert {"429", "503", "504"} <= refused or path in PROBES
        assert "401" in refused or not operation["security"], path
        assert (method == "get") == ("408" not in refused) == ("409" not in refused), path
        assert ("requestBody" in operation) == ("415" in refused), path
        assert "413" in refused or "requestBody" not in operation, path
        assert (method == "get") == ("412" not in refused), path
        assert any(p["name"] == "If-Match" and p["required"] for p in operation["parameters"]) == ("428" in refused)
        for status in refused:
            name = operation["responses"][status]["$ref"].rpartition("/")[2]
            examples = components[name]["content"]["application/problem+json"]["examples"]
            assert {example["value"]["status"] for example in examples.values()} == {int(status)}
            assert ("Retry-After" in components[name]["headers"]) == (
                status in {"429", "503"} or "request_in_progress" in examples
            )


def test_an_answer_that_may_set_the_cookie_says_so(operations: list[Operation]) -> None:
    told = {
        operation["operationId"]
        for _, _, operation in operations
        for response in operation["responses"].values()
        if "Set-Cookie" in response.get("headers", {})
    }
    assert told == {"verify_sign_up", "sign_in", "sign_out", "join_by_invitation"}


def test_what_lists_of_deleted_things_show_is_deleted(operations: list[Operation]) -> None:
    lists = [(path, operation) for method, path, operation in operations if "/deleted-" in path and method == "get"]
    assert len(lists) == 2
    for path, operation in lists:
        (row,) = operation["responses"]["200"]["content"]["application/json"]["example"]["data"]
        assert row["deleted_at"], path


def test_every_component_has_a_plain_name_and_is_used(document: dict[str, Any]) -> None:
    written = json.dumps(document)
    for kind, components in document["components"].items():
        for name in components:
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name), name
            if kind != "securitySchemes":
                assert f'"#/components/{kind}/{name}"' in written, name
    for match in re.findall(r'"\$ref": "(#/[^"]+)"', written):
        node: Any = document
        for part in match.removeprefix("#/").split("/"):
            node = node[part]


def test_no_schema_is_empty_and_every_component_is_described(document: dict[str, Any]) -> None:
    for path, schema in schemas_in(document):
        assert schema, path
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name


def test_bodies_are_closed_and_answers_are_complete(document: dict[str, Any], operations: list[Operation]) -> None:
    schemas = document["components"]["schemas"]
    for _, path, operation in operations:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in body:
            assert schemas[body["$ref"].rpartition("/")[2]]["additionalProperties"] is False, path


async def test_the_document_and_its_pages_are_served_to_everybody(litestar: Litestar, world: Any) -> None:
    answer = await world.client().get("/openapi.json")
    assert answer.json() == json.loads(litestar.state.description.write())
    assert answer.headers["content-type"] == "application/json"
