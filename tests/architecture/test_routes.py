"""Every route says who may call it, once, and is named by a verb."""

import re
from collections import Counter
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from click.testing import CliRunner
from litestar import Litestar, Response, delete, get, patch, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from insula.__main__ import main
from insula.core.http.creations import CREATES, address_of
from insula.core.http.examples import example_of
from insula.core.http.guard import DECLARATIONS, RouteUndeclared, declared_routes, refuse_undeclared
from insula.core.http.methods import creations_of
from insula.product import FEATURES
from tests.resources import PREFIXES

ORGANIZATION = "/v1/organizations/{organization_id}"
PLANES = {
    ORGANIZATION: {"permission"},
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


def test_each_route_is_a_line_that_says_who_may_call_it() -> None:
    lines = CliRunner().invoke(main, ["routes"]).output.splitlines()
    assert all(re.match(r"[A-Z]+ +/\S* +\S", line) for line in lines), lines
    assert [line for line in lines if line.endswith(" ")] == []
    (password,) = (line for line in lines if line.startswith("PUT") and "/v1/me/password " in line)
    assert " session: " in password


def wrong_creations(app: Litestar) -> list[str]:
    """Litestar answers 201 to every POST that says nothing else, also where nothing was made."""
    creations = creations_of(app)
    return [
        f"POST {path} answers {handler.status_code} and makes {creations.get(path, 'nothing')}"
        for method, path, handler in declared_routes(app)
        if method == "POST" and (handler.status_code == 201) is not (path in creations)
    ]


def test_a_post_answers_201_where_it_makes_something_and_nowhere_else(litestar: Litestar) -> None:
    assert wrong_creations(litestar) == [], "status_code= for what makes nothing, creates= for what does"


def test_a_creation_that_answers_200_and_an_action_that_answers_201_are_noticed() -> None:
    @get("/things/{thing_id:str}")
    async def get_thing(thing_id: FromPath[str]) -> None: ...

    @post("/things", status_code=200)
    async def create_thing() -> None: ...

    @post("/things/{thing_id:str}/closure")
    async def close_thing(thing_id: FromPath[str]) -> None: ...

    @post("/batch", opt={CREATES: "things"})
    async def create_things() -> None: ...

    planted = [get_thing, create_thing, close_thing, create_things]
    assert wrong_creations(Litestar(planted, openapi_config=None, logging_config=None)) == [
        "POST /things answers 200 and makes {path}/{id}",
        "POST /things/{thing_id}/closure answers 201 and makes nothing",
    ]


def test_what_a_post_makes_is_where_a_route_shows_it(
    litestar: Litestar, routes: list[tuple[str, str, HTTPRouteHandler]]
) -> None:
    shown = [re.sub(r"\{\w+\}", "[^/]+", path) for method, path, _ in routes if method == "GET"]
    handlers = {path: handler for method, path, handler in routes if method == "POST"}
    addresses = {}
    for path, creates in creations_of(litestar).items():
        returned = get_type_hints(handlers[path].fn, include_extras=True)["return"]
        answer = get_args(returned)[0] if get_origin(returned) is Response else returned
        addresses[path] = address_of(creates, path, msgspec.convert(example_of(answer), answer))
    assert [path for path, address in addresses.items() if address is None] == [f"{ORGANIZATION}/invitations/batch"]
    for address in filter(None, addresses.values()):
        assert any(re.fullmatch(pattern, address) for pattern in shown), address


@pytest.mark.parametrize("said", [{}, {"public": ""}, {"public": "a reason", "authenticated_only": "another"}])
def test_the_program_does_not_start_with_a_route_that_says_nothing_or_two_things(said: dict[str, str]) -> None:
    @get("/planted", opt=said)
    async def planted() -> None: ...

    with pytest.raises(RouteUndeclared):
        refuse_undeclared(Litestar([planted], openapi_config=None, logging_config=None))


def test_every_operation_is_named_by_its_handler_and_no_two_alike(
    litestar: Litestar, routes: list[tuple[str, str, HTTPRouteHandler]]
) -> None:
    document = msgspec.json.decode(litestar.state.description.write())
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
    for path, item in msgspec.json.decode(litestar.state.description.write())["paths"].items():
        for method, operation in item.items():
            assert operation.get("summary", "").endswith("."), (method, path)
            assert operation.get("tags"), (method, path)


def unconditional(app: Litestar) -> list[str]:
    """Verbs that change what has an ETag and do not look at If-Match; a POST may leave it out, the others may not."""
    routes = list(declared_routes(app))
    shown = {path for method, path, handler in routes if method == "GET" and _has_version(handler)}
    creations = creations_of(app)
    return [
        f"{method} {path}"
        for method, path, handler in routes
        if method != "GET" and not (method == "POST" and path in creations)
        if _has_version(handler) or (path.rpartition("/")[0] if method == "POST" else path) in shown
        if not {"version", *(["version_if_sent"] if method == "POST" else [])} & set(get_type_hints(handler.fn))
    ]


def _has_version(handler: HTTPRouteHandler) -> bool:
    returned = get_type_hints(handler.fn).get("return")
    answer = get_args(returned)[0] if get_origin(returned) is Response else returned
    return "version" in getattr(answer, "__struct_fields__", ())


def test_every_verb_on_what_has_a_version_takes_the_one_that_was_read(litestar: Litestar) -> None:
    assert unconditional(litestar) == [], "version for PUT, PATCH and DELETE, version_if_sent for POST"


def test_a_verb_that_ignores_the_version_is_noticed() -> None:
    class Thing(msgspec.Struct):
        version: int

    @get("/things/{thing_id:str}")
    async def get_thing(thing_id: FromPath[str]) -> Thing: ...

    @delete("/things/{thing_id:str}")
    async def delete_thing(thing_id: FromPath[str]) -> None: ...

    @patch("/things/{thing_id:str}")
    async def update_thing(thing_id: FromPath[str], version_if_sent: NamedDependency[int | None]) -> Thing: ...

    @post("/things/{thing_id:str}/closure", status_code=204)
    async def close_thing(thing_id: FromPath[str]) -> None: ...

    @post("/things/{thing_id:str}/opening", status_code=200)
    async def open_thing(thing_id: FromPath[str], version_if_sent: NamedDependency[int | None]) -> Thing: ...

    @post("/deleted-things/{thing_id:str}/restoration", status_code=200)
    async def restore_thing(thing_id: FromPath[str]) -> Response[Thing]: ...

    @post("/things")
    async def create_thing() -> Thing: ...

    planted = [get_thing, delete_thing, update_thing, close_thing, open_thing, restore_thing, create_thing]
    given = {"version_if_sent": Provide(lambda: None, sync_to_thread=False)}
    app = Litestar(planted, dependencies=given, openapi_config=None, logging_config=None)
    assert unconditional(app) == [
        "POST /deleted-things/{thing_id}/restoration",
        "DELETE /things/{thing_id}",
        "PATCH /things/{thing_id}",
        "POST /things/{thing_id}/closure",
    ]
