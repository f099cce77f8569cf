"""Which problems each operation may answer, as the document tells it."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
from litestar import Litestar

from insula.core.errors import DomainError
from insula.core.http.guard import declared_routes
from insula.core.http.refusals import REFUSALS, derived_refusals
from insula.core.permissions import Role
from tests.http.conftest import Operation


def kinds(error: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    """Every error of the program's; those of tests have modules elsewhere."""
    if error.__module__.startswith("insula."):
        yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


def codes_in(document: dict[str, Any], operation: dict[str, Any]) -> dict[int, set[str]]:
    """What an operation may answer from 400 up, as programs read it."""
    told = {}
    for status, response in operation["responses"].items():
        if "$ref" in response:
            name = response["$ref"].removeprefix("#/components/responses/")
            told[int(status)] = set(document["components"]["responses"][name]["x-codes"])
    return told


def test_every_operation_tells_the_codes_of_its_problems(
    litestar: Litestar, document: dict[str, Any], operations: list[Operation]
) -> None:
    handlers = {(method.lower(), path): handler for method, path, handler in declared_routes(litestar)}
    named = 0
    for method, path, operation in operations:
        told, options = codes_in(document, operation), handlers[method, path].opt
        derived = derived_refusals(method.upper(), path, operation, options)
        wanted = {(error.status, error.code) for error in (*derived, *options.get(REFUSALS, ()))}
        assert {(status, code) for status, codes in told.items() for code in codes} == wanted, (method, path)
        assert not derived & set(options.get(REFUSALS, ())), f"{method} {path} names what follows from the route"
        named += len(options.get(REFUSALS, ()))
    assert named > 60


def test_a_role_may_be_told_that_it_lacks_a_permission_where_one_does_and_nowhere_else(
    litestar: Litestar, document: dict[str, Any], operations: list[Operation]
) -> None:
    held = [litestar.state.permissions.of(role) for role in Role]
    told: dict[bool, set[str]] = {True: set(), False: set()}
    for _, _, operation in operations:
        permission = operation.get("x-permission")
        some_role_lacks_it = permission is not None and any(permission not in names for names in held)
        codes = codes_in(document, operation).get(403, set())
        assert ("permission_missing" in codes) is some_role_lacks_it, operation["operationId"]
        assert {"membership_suspended", "organization_suspended"} <= codes or "x-permission" not in operation
        told[some_role_lacks_it].add(operation["operationId"])
    assert {"get_organization", "get_access", "leave_organization"} <= told[False]
    assert {"list_events", "list_members", "delete_organization"} <= told[True]


def test_a_newcomer_learns_that_a_slug_may_be_taken(document: dict[str, Any], operations: list[Operation]) -> None:
    told = {operation["operationId"]: codes_in(document, operation) for _, _, operation in operations}
    assert told["update_organization"][409] == {"conflict", "slug_taken"}
    assert told["sign_in"][401] == {"sign_in_failed"}
    assert told["preview_invitation"].keys() & {401, 403, 404} == set()
    assert told["get_me"].keys() == {400, 401, 429, 500, 503, 504}
    assert told["get_liveness"].keys() == told["get_readiness"].keys() == {400, 500}


def test_every_code_is_one_error_s_and_told_by_some_operation(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    ours = list(kinds())
    assert len(ours) == len({kind.code for kind in ours}) > 30
    told = {
        (status, code)
        for _, _, operation in operations
        for status, codes in codes_in(document, operation).items()
        for code in codes
    }
    untold = {kind.code for kind in ours if (kind.status, kind.code) not in told}
    assert untold == {"forbidden", "unprocessable", "method_not_allowed"}  # two families, and what is no operation


def test_every_problem_has_an_example_that_fits(document: dict[str, Any]) -> None:
    titles = {kind.code: kind.title for kind in kinds()}
    for name, response in document["components"]["responses"].items():
        (content,) = response["content"].values()
        validator = jsonschema.Draft202012Validator({**content["schema"], "components": document["components"]})
        for code, example in content["examples"].items():
            validator.validate(example["value"])
            assert example["value"]["code"] == code
            assert example["summary"] == titles[code]
            assert f"`{code}`" in response["description"]
        assert list(content["examples"]) == response["x-codes"], name
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_an_operation_without_a_body_shows_no_problem_that_points_into_one(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    bodiless = [operation for _, _, operation in operations if "requestBody" not in operation]
    for response in (
        answer for operation in bodiless for answer in operation["responses"].values() if "$ref" in answer
    ):
        told = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        for example in told["content"]["application/problem+json"]["examples"].values():
            pointers = [error["pointer"] for error in example["value"].get("errors", [])]
            assert not [pointer for pointer in pointers if pointer.startswith("/")], example


def test_operations_with_the_same_problems_share_their_responses(document: dict[str, Any]) -> None:
    responses = document["components"]["responses"].values()
    contents = [json.dumps([response["content"], response["headers"]]) for response in responses]
    assert len(contents) == len(set(contents)) < 80


def test_restoring_what_is_not_deleted_is_the_same_problem_everywhere(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    restorations = [operation for _, path, operation in operations if path.endswith("/restoration")]
    assert len(restorations) >= 3
    for operation in restorations:
        assert "not_deleted" in codes_in(document, operation)[409], operation["operationId"]
