"""What is wrong with a body: our words find exactly what msgspec refuses."""

import sys
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from msgspec import inspect

from insula.core.http.complaints import complaints
from insula.core.http.examples import example_of
from insula.core.http.guard import declared_routes
from insula.core.schemas import WANTED
from insula.features.invitations.schemas import InvitationBatch
from insula.features.projects.schemas import ProjectUpdate

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats(-9, 9) | st.text(max_size=4) | st.just("www.x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def bodies(app: Litestar) -> list[Any]:
    """The type of every body that a route takes."""
    hints = [get_type_hints(handler.fn, include_extras=True) for _, _, handler in declared_routes(app)]
    return [each["data"] for each in hints if "data" in each]


def texts(kind: Any) -> Iterator[tuple[inspect.StrType, dict[str, Any]]]:
    """Every text inside of a type, with what is said about it beside."""
    extra: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata):
        kind, extra = kind.type, kind.extra or {}
    match kind:
        case inspect.StrType():
            yield kind, extra
        case inspect.StructType(fields=fields):
            for field in fields:
                yield from texts(field.type)
        case inspect.UnionType(types=types):
            for each in types:
                yield from texts(each)
        case inspect.DictType(key_type=key, value_type=value):
            yield from (*texts(key), *texts(value))
        case inspect.ListType(item_type=item):
            yield from texts(item)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every part of a JSON value, and to one that is not there."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))
    if isinstance(value, dict):
        yield (*path, "new")


def put(value: Any, path: tuple[Any, ...], there: Any) -> Any:
    if not path:
        return there
    whole = value = deepcopy(value)
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = there
    return whole


def refuses(value: Any, annotation: Any) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=annotation)
    except msgspec.ValidationError:
        return True
    return False


def test_complaints_find_what_msgspec_refuses_and_nothing_else(litestar: Litestar) -> None:
    taken = bodies(litestar)
    assert len(taken) > 15

    @settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        annotation = data.draw(st.sampled_from(taken))
        value = example_of(annotation)
        for _ in range(2):
            path = data.draw(st.sampled_from(list(places(value))))
            value = put(value, path, data.draw(ANYTHING))
        assert bool(complaints(value, annotation)) == refuses(value, annotation), complaints(value, annotation)

    agree()


def test_every_pattern_says_in_words_what_it_asks_for(litestar: Litestar) -> None:
    patterns = [
        (kind.pattern, extra)
        for body in bodies(litestar)
        for kind, extra in texts(inspect.type_info(body))
        if kind.pattern is not None
    ]
    assert patterns
    assert [pattern for pattern, extra in patterns if WANTED not in extra] == []


def calls_of(value: Any, annotation: Any) -> int:
    """How many functions are called to find what is wrong."""
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        complaints(value, annotation)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ({"metadata": {f"key{number}": 1 for number in range(50_000)}}, ProjectUpdate),
        ({"invitations": [{"email": "ada@example.com", "role": "member"}] * 50_000}, InvitationBatch),
        ([1.5] * 50_000 + ["x"], list[int | float]),
        ([[1] * 300] * 300 + ["x"], list[list[int]]),
        ([1] * 50_000 + ["x"], list[int] | dict[str, int]),
    ],
)
def test_a_large_body_is_not_looked_through(value: Any, annotation: Any) -> None:
    assert calls_of(value, annotation) < 50_000


def test_too_many_is_said_once_and_nothing_about_each() -> None:
    body = {"metadata": {f"key{number}": {} for number in range(51)}}
    assert [(each.pointer, each.detail) for each in complaints(body, ProjectUpdate)] == [
        ("/metadata", "at most 50 entries")
    ]
