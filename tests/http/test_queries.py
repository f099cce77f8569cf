"""Queries that are not understood: each mistake is named."""

from typing import Annotated

import pytest
from litestar import Litestar, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter

from insula.core.http.guard import declared_routes
from insula.core.http.parameters import QUERY_TYPES, learn_queries
from tests.factories import Member, World
from tests.http.conftest import Operation
from tests.http.test_problems import problem


@pytest.fixture
async def owner(world: World) -> Member:
    return await world.owner()


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "query/limit"),
        ("limit=101", "query/limit"),
        ("limit=", "query/limit"),
        ("limit=x", "query/limit"),
        ("status=new", "query/status"),
        ("status=null", "query/status"),
        ("sort=secret", "query/sort"),
        ("sort=", "query/sort"),
        ("cursor=x", "query/cursor"),
        ("offset=1", "query/offset"),
        ("status=active&status=paused", "query/status"),
        ("limit=1&limit=2", "query/limit"),
        ("%00=1", "query/\x00"),
        ("tenant_id=x", "query/tenant_id"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(owner: Member, query: str, pointer: str) -> None:
    answer = await owner.client.get(owner.url(f"/projects?{query}"))
    (error,) = problem(answer, 400, "invalid_request")["errors"]
    assert error["pointer"] == pointer


async def test_every_unknown_parameter_is_named_in_the_order_sent(owner: Member) -> None:
    sent = ["z", "status", *"yxwvutsrqponmlkjihgfedcba"]
    answer = await owner.client.get(owner.url("/projects?" + "&".join(f"{name}=1" for name in sent)))
    found = problem(answer, 400, "invalid_request")["errors"]
    assert [error["pointer"] for error in found] == [f"query/{name}" for name in sent[:20]]


async def test_an_order_that_is_not_offered_is_told_with_all_else_that_is_wrong(owner: Member) -> None:
    answer = await owner.client.get(owner.url("/projects?limit=abc&sort=bla&status=x"))
    found = problem(answer, 400, "invalid_request")["errors"]
    assert [(error["pointer"], error["code"]) for error in found] == [
        ("query/limit", "wrong_type"),
        ("query/sort", "not_offered"),
        ("query/status", "not_offered"),
    ]


async def test_whoever_writes_an_offset_with_a_plus_that_means_a_blank_is_told_how_to_write_it(owner: Member) -> None:
    answer = await owner.client.get(owner.url("/events?since=2026-12-01T00:00:00+01:00"))
    (error,) = problem(answer, 400, "invalid_request")["errors"]
    assert (error["pointer"], error["code"]) == ("query/since", "malformed")
    assert error["detail"].endswith(" is needed; write + as %2B, since in a query it stands for a blank")
    right = await owner.client.get(owner.url("/events?since=2026-12-01T00:00:00%2B01:00"))
    assert right.status_code == 200, right.text


def test_an_operation_takes_from_the_query_what_is_described_and_nothing_else(
    litestar: Litestar, operations: list[Operation]
) -> None:
    taken = {(method.lower(), path): handler.opt[QUERY_TYPES] for method, path, handler in declared_routes(litestar)}
    for method, path, operation in operations:
        described = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
        assert set(taken[method, path]) == described, (method, path)


def test_a_parameter_is_known_by_the_name_it_is_sent_with_whoever_takes_it() -> None:
    def provide_share(size: FromQuery[int]) -> int:
        return size

    @get("/", dependencies={"share": Provide(provide_share, sync_to_thread=False)})
    async def divide(share: NamedDependency[int], kind: Annotated[str, QueryParameter(name="type")]) -> None: ...

    app = Litestar([divide], openapi_config=None)
    learn_queries(app)
    ((_, _, handler),) = declared_routes(app)
    assert handler.opt[QUERY_TYPES].keys() == {"size", "type"}
