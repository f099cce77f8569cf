"""Every route says who may call it, once, and is named by a verb."""

import re
from collections import Counter
from typing import Any

import msgspec
import pytest
from litestar import Litestar, get
from litestar.handlers import HTTPRouteHandler

from insula.core.http.guard import DECLARATIONS, RouteUndeclared, declared_routes, refuse_undeclared
from insula.product import FEATURES
from tests.resources import PREFIXES

PLANES = {
    "/v1/organizations/{organization_id}": {"permission"},
    "/v1/platform": {"operator"},
    "/v1/me": {"authenticated_only", "public"},
    "/v1/auth": {"public"},
    "/": {"public", "authenticated_only"},
}
"""What a route under a path may say about its callers; the first path that fits decides."""


@pytest.fixture(scope="module")
def routes(litestar: Litestar) -> list[tuple[str, str, HTTPRouteHandler]]:
    return list(declared_routes(litestar))


def test_every_permission_opens_a_route(routes: list[tuple[str, str, HTTPRouteHandler]]) -> None:
    used = {handler.opt["permission"] for _, _, handler in routes if "permission" in handler.opt}
    assert used == {permission for feature in FEATURES for permission in feature.permissions}


def test_every_route_says_one_thing_about_its_callers(routes: list[tuple[str, str, HTTPRouteHandler]]) -> None:
    for method, path, handler in routes:
        said = [name for name in DECLARATIONS if name in handler.opt]
        plane = next(start for start in PLANES if path.startswith(start))
        assert len(said) == 1, (method, path)
        assert set(said) <= PLANES[plane], (method, path, said)


def test_a_route_that_needs_no_permission_gives_a_reason(routes: list[tuple[str, str, HTTPRouteHandler]]) -> None:
    for method, path, handler in routes:
        reason: Any = next(handler.opt[name] for name in DECLARATIONS if name in handler.opt)
        assert "permission" in handler.opt or len(reason.split()) > 2, (method, path, reason)


@pytest.mark.parametrize("said", [{}, {"public": ""}, {"public": "a reason", "authenticated_only": "another"}])
def test_the_program_does_not_start_with_a_route_that_says_nothing_or_two_things(said: dict[str, str]) -> None:
    @get("/planted", opt=said)
    async def planted() -> None: ...

    with pytest.raises(RouteUndeclared):
        refuse_undeclared(Litestar([planted], openapi_config=None, logging_config=None))


def test_every_operation_is_named_by_its_handler_and_no_two_alike(
    litestar: Litestar, routes: list[tuple[str, str, HTTPRouteHandler]]
) -> None:
    document = msgspec.json.decode(litestar.state.openapi)
    handlers = {
        (method.lower(), path): handler.handler_name
        for method, path, handler in routes
        if handler.resolve_include_in_schema()
    }
    operations = {
        (method, path): operation["operationId"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert operations == handlers
    assert [name for name, count in Counter(operations.values()).items() if count > 1] == []


def test_operations_are_a_verb_and_a_noun(routes: list[tuple[str, str, HTTPRouteHandler]]) -> None:
    reading = {"get", "list", "check", "search", "export", "download", "preview", "show"}
    for method, path, handler in routes:
        name = handler.handler_name
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", name), name
        verb = name.split("_")[0]
        if handler.resolve_include_in_schema() and path.startswith("/v1/"):
            assert (verb in reading) == (method == "GET") or verb == "preview", f"{method} {path} is {name}"


def test_an_id_in_a_path_is_named_after_what_a_feature_says_its_prefix_names(
    routes: list[tuple[str, str, HTTPRouteHandler]],
) -> None:
    """By its name the generated attacks know whose ids to put there."""
    nouns = {noun.replace(" ", "_") for noun in PREFIXES}
    for _, path, _ in routes:
        unknown = [name for name in re.findall(r"\{(\w+)_id\}", path) if name not in nouns]
        assert unknown == [], f"{path}: no feature has these in its id_prefixes"


def test_every_operation_has_a_summary_and_a_tag(litestar: Litestar) -> None:
    for path, item in msgspec.json.decode(litestar.state.openapi)["paths"].items():
        for method, operation in item.items():
            assert operation.get("summary", "").endswith("."), (method, path)
            assert operation.get("tags"), (method, path)
