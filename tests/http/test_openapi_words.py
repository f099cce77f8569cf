"""What the document tells those who read it, and the programs that make code of it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.factories import World
from tests.http.conftest import Operation


def parts_of(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document, without its examples."""
    if isinstance(node, dict):
        yield node
        yield from (
            part for key, value in node.items() if key not in {"example", "examples"} for part in parts_of(value)
        )
    elif isinstance(node, list):
        yield from (part for value in node for part in parts_of(value))


def test_the_key_of_a_repetition_says_whose_it_is_and_of_what(operations: list[Operation]) -> None:
    (told,) = {
        parameter["description"]
        for _, _, operation in operations
        for parameter in operation["parameters"]
        if parameter["name"] == "Idempotency-Key"
    }
    for word in ("one session in one organization", "signing in again", "`If-Match`", "`idempotency_key_reused`"):
        assert word in told


def test_the_description_says_what_a_tag_is_and_where_it_is_refused(document: dict[str, Any]) -> None:
    told = document["info"]["description"]
    assert '`"<version>"` for all but invitations' in told
    assert "of a request that changes something is refused with 412" in told


async def test_a_tag_that_a_read_brings_is_not_looked_at(world: World) -> None:
    owner = await world.owner()
    for path in ("", "/roles"):
        assert (await owner.client.get(owner.url(path), headers={"if-match": '"9"'})).status_code == 200


@pytest.mark.parametrize(
    ("operation", "name", "wanted"),
    [
        ("list_members", "role", "Only those whose `role` is this."),
        ("list_events", "actor_id", "Only those whose `actor_id` is this. The id of anything."),
        ("list_events", "since", "Only those made at this moment or later. RFC 3339, with an offset."),
        (
            "list_my_events",
            "until",
            "Only those made before this moment, and none made at it. RFC 3339, with an offset.",
        ),
    ],
)
def test_a_filter_says_what_it_finds_and_then_its_form(
    operations: list[Operation], operation: str, name: str, wanted: str
) -> None:
    (one,) = [each for _, _, each in operations if each["operationId"] == operation]
    (parameter,) = [each for each in one["parameters"] if each["name"] == name]
    assert parameter["description"] == wanted


@pytest.mark.parametrize("kind", ["project", "team"])
def test_what_is_deleted_says_for_how_long_it_can_be_restored(operations: list[Operation], kind: str) -> None:
    told = {each["operationId"]: each.get("description", "") for _, _, each in operations}
    for operation in (f"delete_{kind}", f"restore_{kind}", f"list_deleted_{kind}s"):
        assert "30 days" in told[operation], operation


def test_a_job_says_what_it_holds_and_what_its_numbers_count(document: dict[str, Any]) -> None:
    job = document["components"]["schemas"]["JobRead"]
    assert "ids only" not in job["description"]
    status = job["properties"]["status"]
    assert re.findall(r"`(\w+)`:", status["description"]) == ["waiting", "due", "leased", "done", "dead", "discarded"]
    for counter in ("attempt", "failures", "crashes"):
        assert job["properties"][counter]["description"].startswith("How often")


def test_what_is_one_of_some_texts_says_that_it_is_text(document: dict[str, Any]) -> None:
    listed = [part for part in parts_of(document) if isinstance(part.get("enum"), list)]
    assert document["components"]["schemas"]["Role"] in listed
    assert [part for part in listed if part.get("type") != "string"] == []


def test_no_description_has_the_lines_of_its_source(document: dict[str, Any]) -> None:
    told = [part["description"] for part in parts_of(document) if isinstance(part.get("description"), str)]
    assert len(told) > 100
    assert [text for text in told if re.search(r"\S\n\S|\n ", text)] == []


async def test_an_answer_that_may_come_in_fewer_bytes_says_so(
    world: World, document: dict[str, Any], operations: list[Operation]
) -> None:
    owner = await world.owner()
    answer = await owner.client.get(owner.url("/roles"), headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    refusals = document["components"]["responses"].values()
    answers = [each for _, _, operation in operations for each in operation["responses"].values() if "$ref" not in each]
    for declared in (*answers, *refusals):
        assert ("Content-Encoding" in declared["headers"]) == ("content" in declared), declared["description"]
