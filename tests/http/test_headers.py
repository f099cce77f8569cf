"""Headers: what every answer carries, and HEAD, OPTIONS, compression."""

import gzip

import asyncpg
import pytest
import zstandard

from insula.core.http.answer_headers import _SECURITY
from insula.settings import Settings
from tests import workshop
from tests.factories import World

POLICY = "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SECURITY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
EVERYWHERE = {
    name: value for name, value in SECURITY.items() if name not in {"content-security-policy", "cache-control"}
}
"""What pages answer like everything else."""


def test_every_security_header_of_the_program_is_examined_here() -> None:
    assert {name.decode(): value.decode() for name, value in _SECURITY.items()} == SECURITY


async def test_every_answer_forbids_browsers_to_guess_store_or_run_it(world: World) -> None:
    owner = await world.owner()
    answers = [
        await owner.client.get(owner.url("/projects")),
        await owner.client.post(owner.url("/projects"), json={}),
        await owner.client.request("OPTIONS", owner.url("/projects")),
        await owner.client.head(owner.url("/projects")),
        await owner.client.put(owner.url("/projects")),
        await owner.client.request("TRACE", owner.url("/projects")),
        await world.client().get(owner.url("/projects")),
        await world.client().get("/nothing"),
        await world.client().get("/livez"),
        await world.client().get("/openapi.json"),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 204, 200, 405, 405, 401, 404, 200, 200]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
        assert len(answer.headers["x-request-id"]) == 32
        assert "strict-transport-security" not in answer.headers  # this program is reached by plain HTTP
        assert not {"server", "x-powered-by", "access-control-allow-origin"} & set(answer.headers)


async def test_behind_https_browsers_are_told_to_stay_there(settings: Settings, superuser: asyncpg.Connection) -> None:
    async with workshop.opened(settings, superuser, base_url="https://app.example.com") as world:
        for path in ("/livez", "/nothing", "/v1/me/organizations"):
            answer = await world.client().get(path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"


async def test_the_documentation_allows_itself_and_nobody_else(world: World) -> None:
    for path in ("/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"):
        answer = await world.client().get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].endswith("; charset=utf-8")
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        for closed in ("default-src", "object-src", "base-uri", "form-action", "frame-ancestors"):
            assert f"{closed} 'none'" in answer.headers["content-security-policy"]
        assert {name: answer.headers[name] for name in sorted(EVERYWHERE)} == EVERYWHERE
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "https://" not in answer.text[:2000]
    assert (await world.client().get("/docs/..%2f..%2fsettings.py")).status_code == 404


async def test_head_answers_as_get_without_the_body(world: World) -> None:
    owner = await world.owner()
    made = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "XX"})
    for path in (owner.url("/projects"), owner.url(f"/projects/{made.json()['id']}"), "/livez", "/nothing"):
        got, headed = await owner.client.get(path), await owner.client.head(path)
        assert headed.status_code == got.status_code
        assert headed.content == b""
        changing = {"x-request-id", "ratelimit"}
        assert set(headed.headers.items()) - {(k, v) for k, v in headed.headers.items() if k in changing} == {
            (k, v) for k, v in got.headers.items() if k not in changing
        }
    assert (await owner.client.head(owner.url("/departure"))).status_code == 405
    assert (await world.client().head(owner.url("/projects"))).status_code == 401


async def test_a_path_that_a_link_would_take_for_a_host_is_nobodys(world: World) -> None:
    """``//v1/...`` in a Link or a Location names a host called v1, which would get the caller's token."""
    owner, body = await world.owner(), {"name": "A project", "key": "HOST"}
    site, projects = str(owner.client.base_url).rstrip("/"), owner.url("/projects")
    for path in (f"/{projects}", owner.url("//projects"), f"{projects}/", owner.url("/%2fprojects")):
        for answer in (await owner.client.get(site + path), await owner.client.post(site + path, json=body)):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
            assert not {"link", "location"} & answer.headers.keys()
    for path in ("//livez", "/livez/", "/livez%2f"):
        assert (await owner.client.get(site + path)).status_code == 404, path
    assert (await owner.client.get(site + projects)).status_code == 200


async def test_options_names_every_method_of_a_path(world: World) -> None:
    for path, methods in {
        "/livez": "GET, HEAD, OPTIONS",
        "/v1/organizations/x/projects": "GET, HEAD, OPTIONS, POST",
        "/v1/organizations/x/projects/y": "DELETE, GET, HEAD, OPTIONS, PATCH",
        "/v1/organizations/x/departure": "OPTIONS, POST",
    }.items():
        answer = await world.client().request("OPTIONS", path, headers={"origin": "https://evil.example"})
        assert (answer.status_code, answer.headers["allow"]) == (204, methods)
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, *;q=0.1", "gzip"),
        ("GZIP;Q=1.0", "gzip"),
        ("gzip;q=0", None),
        ("zstd;q=0, gzip;q=high", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_long_answers_are_compressed_for_those_who_can_read_it(
    world: World, accepted: str, encoding: str | None
) -> None:
    owner = await world.owner()
    for number in range(8):
        await owner.client.post(owner.url("/projects"), json={"name": f"Project {number}", "key": f"P{number}"})
    plain = await owner.client.get(owner.url("/projects"), headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with owner.client.stream("GET", owner.url("/projects"), headers={"accept-encoding": accepted}) as packed:
        raw = b"".join([part async for part in packed.aiter_raw()])
    assert packed.headers.get("content-encoding") == encoding
    if encoding is None:
        assert raw == plain.content
        return
    assert packed.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) == len(raw) < len(plain.content)
    unpacked = (
        gzip.decompress(raw) if encoding == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    )
    assert unpacked == plain.content


async def test_short_answers_are_not_compressed(world: World) -> None:
    """Secrets shown once stand in short answers; there compression would tell their length (BREACH)."""
    owner = await world.owner()
    made = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "XX"})
    assert "content-encoding" not in made.headers


@pytest.mark.parametrize("cookie", [False, True])
async def test_the_caller_s_request_id_is_kept_and_named_in_refusals(world: World, cookie: bool) -> None:
    owner = await world.owner()
    answer = await owner.client.get(owner.url("/nothing-here"), headers={"x-request-id": "order-4711-again"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "order-4711-again"


async def test_limits_are_told_with_successes_and_refusals_alike(world: World) -> None:
    owner = await world.owner()
    for answer, status in (
        (await owner.client.get(owner.url("/projects")), 200),
        (await owner.client.get(owner.url("/projects/x")), 404),
        (await owner.client.post(owner.url("/projects"), json={}), 400),
        (await world.client().get("/livez/nothing"), 404),
        (await world.client().get("/docs"), 200),
    ):
        assert answer.status_code == status
        if answer.request.url.path != "/livez/nothing":  # what no route answers is not counted
            assert answer.headers["ratelimit"].startswith('"'), answer.request.url
            assert ";q=" in answer.headers["ratelimit-policy"]


async def test_who_asks_too_much_is_told_when_to_come_again(settings: Settings, superuser: asyncpg.Connection) -> None:
    async with workshop.opened(settings, superuser, rate_per_minute=3, rate_anonymous_per_minute=3) as world:
        owner = await world.owner()
        for client, path in ((owner.client, owner.url("/projects")), (world.client(), "/openapi.json")):
            answers = [await client.get(path) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            refused = answers[-1]
            assert refused.json()["code"] == "rate_limited"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert ";r=0;" in refused.headers["ratelimit"]


async def test_what_one_person_asks_is_counted_for_each_organization_and_for_themselves(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    async with workshop.opened(settings, superuser, rate_per_minute=2) as world:
        owner, elsewhere = await world.owner(), await world.owner()
        guest = await world.member(elsewhere.organization_id, "viewer", owner.person)
        sessions = [owner.client, world.client(await world.session(owner.person.id)), owner.client]
        for path in (owner.url("/projects"), guest.url("/projects"), "/v1/me"):
            assert [(await session.get(path)).status_code for session in sessions] == [200, 200, 429], path


async def test_a_route_that_will_go_says_since_when_and_until_when(shop: World) -> None:
    owner = await shop.owner()
    answer = await owner.client.get(owner.url("/workshop/relics"))
    assert answer.headers["deprecation"] == "@1793491200"  # RFC 9745
    assert answer.headers["sunset"] == "Sat, 01 May 2027 00:00:00 GMT"  # RFC 8594
    assert (await shop.client().get(owner.url("/workshop/relics"))).headers["deprecation"] == "@1793491200"
    operation = (await shop.client().get("/openapi.json")).json()["paths"]
    relic = operation["/v1/organizations/{organization_id}/workshop/relics"]["get"]
    assert relic["deprecated"] is True
    assert {"Deprecation", "Sunset"} <= set(relic["responses"]["200"]["headers"])


@pytest.mark.parametrize("sent", [[("idempotency-key", "a"), ("idempotency-key", "b")], [("idempotency-key", "a, b")]])
async def test_two_idempotency_keys_are_none(world: World, sent: list[tuple[str, str]]) -> None:
    owner = await world.owner()
    answer = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "XX"}, headers=sent)
    assert answer.status_code == 400, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "header/Idempotency-Key"
    assert error["detail"].startswith("one key, without commas")
    assert (await owner.client.get(owner.url("/projects"))).json()["data"] == []


async def test_of_two_credentials_none_is_believed(world: World) -> None:
    owner = await world.owner()
    bearer = f"Bearer {owner.person.token}"
    shown = [("authorization", bearer), ("authorization", bearer)]
    assert (await world.client().get("/v1/me", headers=shown)).status_code == 401
