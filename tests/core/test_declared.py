"""The watch over what operations answer sees a problem that is not declared, and fails the run."""

from pathlib import Path

import httpx
import pytest

from tests.core.watched import watched_run
from tests.declared import Operations, Problems, undeclared, unprovoked

RUN = """
import httpx

def test_asks():
    told = dict(json={{"code": {code!r}}}, headers={{"content-type": "application/problem+json"}})
    transport = httpx.MockTransport(lambda request: httpx.Response({status}, **told))
    with httpx.Client(transport=transport) as client:
        client.patch("http://x/v1/organizations/org_1?x=y")
"""
LINE = "update_organization answered {} {} in test_planted.py::test_asks"


@pytest.mark.parametrize(
    ("status", "code", "workers", "exits"),
    [(409, "slug_taken", 0, 0), (409, "last_owner", 0, 1), (403, "slug_taken", 1, 1)],
)
def test_a_run_in_which_something_undeclared_is_answered_fails(
    tmp_path: Path, status: int, code: str, workers: int, exits: int
) -> None:
    said = run(tmp_path, status, code, exits, "-n", str(workers))
    assert (LINE.format(status, code) in said) == bool(exits)


def test_a_run_of_every_test_fails_where_a_refusal_that_a_handler_names_was_not_met(tmp_path: Path) -> None:
    said = run(tmp_path, 409, "slug_taken", 1, "-n", "1", "--every-refusal")
    assert "update_organization 422 slug_reserved" in said
    assert "update_organization 409 slug_taken" not in said


def run(folder: Path, status: int, code: str, exits: int, *options: str) -> str:
    """A run of one test, which is given this answer; what it said."""
    return watched_run(folder, RUN.format(status=status, code=code), "tests.declared", exits, *options)


def test_a_problem_belongs_to_the_operation_of_its_path_and_to_none_of_another_method() -> None:
    operations = Operations(DOCUMENT)
    assert operations.at("GET", "/people/me") == "get_me"
    assert operations.at("GET", "/people/per_1") == "get_person"
    for method, path in (("POST", "/people/me"), ("GET", "/people"), ("GET", "/people/per_1/"), ("GET", "/people/a/b")):
        assert operations.at(method, path) is None
    assert operations.declared == {("get_me", 404, "gone"), ("get_me", 404, "lost"), ("get_person", 404, "lost")}


def test_only_problems_are_looked_at_and_each_is_told_once() -> None:
    problems, operations = Problems(), Operations(DOCUMENT)
    for number in range(3):
        problems.hear(httpx.Request("GET", f"http://x/people/{number}?q=1"), problem(404, "gone"))
    problems.hear(httpx.Request("GET", "http://x/people/me"), problem(404, "gone"))
    problems.hear(httpx.Request("GET", "http://x/people/me"), httpx.Response(500, json={"code": "odd"}))
    problems.hear(httpx.Request("GET", "http://x/people/me"), problem(502, "of_a_proxy"))
    problems.hear(httpx.Request("GET", "http://x/elsewhere"), problem(500, "odd"))
    met = problems.of(operations)
    assert met.keys() == {("get_person", 404, "gone"), ("get_me", 404, "gone")}
    (line,) = undeclared(met, operations.declared)
    assert line.startswith("get_person answered 404 gone in ")
    assert unprovoked(met, {("get_me", 404, "gone"), ("get_me", 404, "lost")}) == ["get_me 404 lost"]


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code}, headers={"content-type": "application/problem+json"})


def _response(*codes: str) -> dict[str, object]:
    return {"x-codes": list(codes)}


DOCUMENT = {
    "paths": {
        "/people/{person_id}": {
            "get": {"operationId": "get_person", "responses": {"404": {"$ref": "#/components/responses/Lost"}}},
        },
        "/people/me": {
            "get": {
                "operationId": "get_me",
                "responses": {"200": {}, "404": {"$ref": "#/components/responses/GoneOrLost"}},
            },
        },
    },
    "components": {"responses": {"Lost": _response("lost"), "GoneOrLost": _response("gone", "lost")}},
}
