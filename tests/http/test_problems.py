"""Refusals: one shape for all of them, with a stable name and the place of each mistake."""

import json
from typing import Any

import httpx
import pytest

from insula.core.ids import new_id
from insula.core.logs import configure_logs
from tests.factories import Member, World

JSON = {"content-type": "application/json"}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a refusal, checked for what all of them have in common."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:insula:problem:{code}"
    assert (found["code"], found["status"]) == (code, status)
    assert found["title"]
    assert found["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    return found


@pytest.fixture
async def owner(world: World) -> Member:
    return await world.owner()


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"name": 1, "key": "AB"}, "/name", "text is needed, not a number"),
        ({"name": "", "key": "AB"}, "/name", "must not be empty"),
        ({"name": "a\x00b", "key": "AB"}, "/name", "one line of text that is not blank"),
        ({"key": "AB"}, "/name", "missing"),
        ({"name": "x", "key": "AB", "status": "new"}, "/status", "one of active, archived, paused"),
        ({"name": "x", "key": "AB", "a~/b": 1}, "/a~0~1b", "unknown field"),
        ({"name": "x", "key": "AB", "tenant_id": "org_1"}, "/tenant_id", "unknown field"),
        (
            {"name": "x", "key": "AB", "metadata": {"a": {}}},
            "/metadata/a",
            "text or a whole number or a number or true or false or null is needed, not an object",
        ),
        ({"name": "x", "key": "AB", "metadata": {"": 1}}, "/metadata/", "must not be empty"),
        ({"name": "x", "key": "AB", "metadata": {str(n): n for n in range(51)}}, "/metadata", "at most 50 entries"),
        (None, "", "an object is needed, not null"),
        ([], "", "an object is needed, not a list"),
        ("x", "", "an object is needed, not text"),
    ],
)
async def test_a_wrong_body_is_answered_with_where_and_what(
    owner: Member, body: Any, pointer: str, detail: str
) -> None:
    answer = await owner.client.post(owner.url("/projects"), content=json.dumps(body), headers=JSON)
    (error,) = problem(answer, 400, "invalid_request")["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]


async def test_all_that_is_wrong_with_a_body_is_said_at_once(owner: Member) -> None:
    body = {"name": "", "key": "web", "status": "new", "metadata": {"a b": "x", "c": []}, "nmae": 1}
    answer = await owner.client.post(owner.url("/projects"), json=body)
    found = {error.pop("pointer"): error for error in problem(answer, 400, "invalid_request")["errors"]}
    assert {at: (error["code"], error["detail"]) for at, error in found.items()} == {
        "/nmae": ("unknown", "unknown field"),
        "/name": ("too_short", "must not be empty"),
        "/key": ("malformed", "2 to 10 capital letters and digits, beginning with a letter, such as WEB"),
        "/status": ("not_offered", "one of active, archived, paused"),
        "/metadata/a b": ("malformed", "as a key, letters, digits, _ . and - only"),
        "/metadata/c": (
            "wrong_type",
            "text or a whole number or a number or true or false or null is needed, not a list",
        ),
    }


async def test_what_is_wrong_in_a_list_is_said_of_each_item_up_to_a_hundred(owner: Member) -> None:
    person = {"email": "ada@example.com", "role": "viewer"}
    people = [person | {"role": "king"}, person, *[{}] * 98]
    answer = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": people})
    found = problem(answer, 400, "invalid_request")["errors"]
    assert [(error["pointer"], error["code"], error["detail"]) for error in found[:3]] == [
        ("/invitations/0/role", "not_offered", "one of owner, admin, member, billing, viewer"),
        ("/invitations/2/email", "missing", "missing"),
        ("/invitations/2/role", "missing", "missing"),
    ]
    assert len(found) == 100


async def test_metadata_are_bounded_all_together(owner: Member) -> None:
    """Each change of them writes both, before and after, into the event."""
    key = "\U0001f511" * 1000
    made = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "XX", "metadata": {"a": key}})
    assert made.status_code == 201
    large = {"metadata": {f"key{number}": key for number in range(5)}}
    small = {"metadata": {f"key{number}": key for number in range(4)}}
    headers = {"if-match": made.headers["etag"]}
    url = owner.url(f"/projects/{made.json()['id']}")
    too_large = [{"pointer": "/metadata", "code": "too_long", "detail": "at most 16384 bytes of JSON in all"}]
    for answer in (
        await owner.client.patch(url, json=large, headers=headers),
        await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "YY", **large}),
        await owner.client.post("/v1/organizations", json={"name": "x", "slug": "too-large-metadata", **large}),
    ):
        assert problem(answer, 400, "invalid_request")["errors"] == too_large
    answer = await owner.client.patch(url, json={"name": "", **large}, headers=headers)
    assert {error["pointer"] for error in problem(answer, 400, "invalid_request")["errors"]} == {"/name", "/metadata"}
    assert (await owner.client.patch(url, json=small, headers=headers)).status_code == 200


async def test_who_mistypes_a_reference_has_collided_with_nobody(
    owner: Member, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("info", json=True)
    team = (await owner.client.post(owner.url("/teams"), json={"name": "Design"})).json()["id"]
    refused = await owner.client.put(owner.url(f"/teams/{team}/members/{new_id('mem')}"))
    assert refused.status_code == 404, refused.text
    told = capsys.readouterr().out
    assert '"status":404' in told
    assert '"level":"warning"' not in told


async def test_of_a_list_that_is_too_long_only_that_is_said(owner: Member) -> None:
    answer = await owner.client.post(owner.url("/invitations/batch"), json={"invitations": [{}] * 101})
    assert problem(answer, 400, "invalid_request")["errors"] == [
        {"pointer": "/invitations", "code": "too_long", "detail": "at most 100 items"}
    ]


@pytest.mark.parametrize(
    ("query", "code", "detail"),
    [
        ("limit=0", "too_low", "at least 1"),
        ("limit=101", "too_high", "at most 100"),
        ("limit=x", "wrong_type", "a whole number is needed"),
        ("limit=5.0", "wrong_type", "a whole number is needed"),
        ("limit=1e1", "wrong_type", "a whole number is needed"),
        ("limit=%2B5", "wrong_type", "a whole number is needed"),
        ("limit=1_0", "wrong_type", "a whole number is needed"),
        ("limit=%D9%A5", "wrong_type", "a whole number is needed"),
        ("limit=5%0A", "wrong_type", "a whole number is needed"),
        ("limit=010", "malformed", "not of the documented form"),
        ("limit=99999999999999999999", "too_high", "at most 100"),
        (f"limit={'9' * 5000}", "too_high", "at most 100"),
        ("limit=-99999999999999999999", "too_low", "at least 1"),
        ("status=new", "not_offered", "one of active, archived, paused"),
        ("sort=new", "not_offered", "one of created_at, -created_at, name, -name, updated_at, -updated_at"),
        ("cursor=", "too_short", "must not be empty"),
        ("cursor=x", "malformed", "not a cursor of this list, sort and filters"),
        ("nmae=x", "unknown", "unknown parameter"),
        ("name_prefix=a%00", "malformed", "text without NUL"),
        ("key=web", "malformed", "2 to 10 capital letters and digits, beginning with a letter, such as WEB"),
    ],
)
async def test_a_wrong_parameter_is_told_what_is_right(owner: Member, query: str, code: str, detail: str) -> None:
    answer = await owner.client.get(owner.url(f"/projects?{query}"))
    (error,) = problem(answer, 400, "invalid_request")["errors"]
    assert error == {"pointer": f"query/{query.partition('=')[0]}", "code": code, "detail": detail}


async def test_a_wrong_moment_is_told_what_is_right(owner: Member) -> None:
    for sent in ("yesterday", "2026-11-01T00:00:00", "1e9", "1700000000", "-1.5"):
        answer = await owner.client.get(owner.url("/events"), params={"since": sent})
        (error,) = problem(answer, 400, "invalid_request")["errors"]
        assert error["detail"] == "a date and time with its offset, such as 2026-11-01T09:30:00Z is needed"


@pytest.mark.parametrize("value", ["1", "true", 1, 0, "yes"])
async def test_a_boolean_is_a_boolean_and_not_a_text_that_looks_like_one(shop: World, value: Any) -> None:
    owner = await shop.owner()
    answer = await owner.client.post(owner.url("/workshop/pieces"), json={"name": "x", "loud": value})
    assert problem(answer, 400, "invalid_request")["errors"][0]["pointer"] == "/loud"
    answer = await owner.client.post(owner.url("/workshop/pieces"), json={"name": "x", "count": "1"})
    assert problem(answer, 400, "invalid_request")["errors"][0]["pointer"] == "/count"


@pytest.mark.parametrize("body", [b"{", b"{'name': 1}", b'{"name": "x"} {}', b"x", b"\xff", b" ", b"[" * 500])
async def test_malformed_json_is_answered_with_a_reason(owner: Member, body: bytes) -> None:
    answer = await owner.client.post(owner.url("/projects"), content=body, headers=JSON)
    assert "JSON" in problem(answer, 400, "invalid_request")["detail"] or "UTF-8" in answer.text


@pytest.mark.parametrize("half", [r"\ud800", r"\udc00", r"x\ud83d\u0041"])
async def test_half_of_a_surrogate_pair_is_called_that(owner: Member, half: str) -> None:
    body = f'{{"key": "WEB", "name": "{half}"}}'
    answer = await owner.client.post(owner.url("/projects"), content=body, headers=JSON)
    assert "surrogate pair" in problem(answer, 400, "invalid_request")["detail"]
    answer = await owner.client.post(owner.url("/projects"), content='{"name": "x", "key": ', headers=JSON)
    assert "surrogate" not in problem(answer, 400, "invalid_request")["detail"]


async def test_a_missing_body_is_asked_for(owner: Member) -> None:
    for headers in (JSON, {}):
        answer = await owner.client.post(owner.url("/projects"), headers=headers)
        assert problem(answer, 400, "invalid_request")["errors"] == [
            {"pointer": "", "code": "missing", "detail": "a JSON body is needed"}
        ]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/vnd.api+json"},
        {"content-type": "application/json5"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_a_body_of_another_kind_is_refused(owner: Member, headers: dict[str, str]) -> None:
    body = b'{"name": "Website", "key": "WEB"}'
    problem(
        await owner.client.post(owner.url("/projects"), content=body, headers=headers), 415, "unsupported_media_type"
    )


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON", 'application/json;charset="UTF-8"'])
async def test_json_is_recognised_however_it_is_written(owner: Member, kind: str) -> None:
    body = b'{"name": "Website", "key": "WEB"}'
    answer = await owner.client.post(owner.url("/projects"), content=body, headers={"content-type": kind})
    assert answer.status_code == 201, answer.text


async def test_unknown_paths_and_methods_are_problems_too(world: World, owner: Member) -> None:
    for client in (world.client(), owner.client):
        problem(await client.get("/nothing"), 404, "not_found")
        problem(await client.post("/v1/nothing", json={}), 404, "not_found")
        answer = await client.put(owner.url("/projects"))
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize(
    "sent", ["x", "prj_", "%00", "%ED%A0%80", "..%2f", "PRJ_01920C5E7A3B7C4D8E5F60718293A4", "prj_" + "a" * 5000, "*"]
)
async def test_a_malformed_id_is_an_unknown_id(owner: Member, sent: str) -> None:
    unknown = await owner.client.get(owner.url("/projects/prj_01920c5e7a3b7c4d8e5f607182"))
    expected = {**problem(unknown, 404, "not_found"), "request_id": None}
    for path in (owner.url(f"/projects/{sent}"), f"/v1/organizations/{sent}", f"/v1/organizations/{sent}/projects"):
        answer = await owner.client.get(path)
        assert {**problem(answer, 404, "not_found"), "request_id": None} == expected


async def test_somebody_else_s_resource_is_answered_like_an_unknown_one(world: World, owner: Member) -> None:
    other = await world.owner()
    theirs = (await other.client.post(other.url("/projects"), json={"name": "x", "key": "XX"})).json()["id"]
    for method, headers in (("GET", {}), ("DELETE", {"if-match": "*"})):
        found, absent = [
            await owner.client.request(method, owner.url(f"/projects/{project}"), headers=headers)
            for project in (theirs, "prj_01920c5e7a3b7c4d8e5f607182")
        ]
        assert {**problem(found, 404, "not_found"), "request_id": None} == {**absent.json(), "request_id": None}
        assert {k for k in found.headers if k != "x-request-id"} == {k for k in absent.headers if k != "x-request-id"}


async def test_strangers_are_told_which_credential_would_do(world: World, owner: Member) -> None:
    for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer x"}, {"authorization": "Bearer"}):
        answer = await world.client().get(owner.url("/projects"), headers=headers)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_missing_permission_is_named(world: World, owner: Member) -> None:
    viewer = await world.member(owner.organization_id, "viewer")
    answer = await viewer.client.post(viewer.url("/projects"), json={"name": "x", "key": "XX"})
    assert problem(answer, 403, "permission_missing")["permission"] == "projects:write"
    absent = await viewer.client.get(viewer.url("/projects/prj_01j865wyhvfh6rwqv0e619795n"))
    assert "permission" not in problem(absent, 404, "not_found")
    document = (await world.client().get("/openapi.json")).json()
    assert "permission" in document["components"]["schemas"]["Problem"]["properties"]
    shown = [
        media["examples"]["permission_missing"]["value"]
        for response in document["components"]["responses"].values()
        for media in response.get("content", {}).values()
        if "permission_missing" in media.get("examples", {})
    ]
    assert shown
    assert all(example["permission"] for example in shown)


async def test_what_the_server_got_wrong_is_told_to_the_log_only(shop: World) -> None:
    owner = await shop.owner()
    answer = await owner.client.post(owner.url("/workshop/pieces"), json={"name": "x", "then": "explode"})
    found = problem(answer, 500, "internal_error")
    assert set(found) == {"type", "title", "status", "code", "request_id"}
