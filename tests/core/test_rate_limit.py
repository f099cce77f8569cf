"""Rate limits over HTTP: who is counted, what callers are told, who is turned away."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, Request, Response, get
from litestar.types import Scope

from insula.core.cache import connect
from insula.core.errors import RateLimited
from insula.core.http.authentication import COOKIE
from insula.core.http.rate_limit import (
    AddressRateLimit,
    client_address,
    counted_address,
    headers,
    refusal,
)
from insula.core.http.still_refused import StillRefused
from insula.core.limits import Decision, Limit, Limiter

POLICY = Limit("api", 100, 60)


def scope(*forwarded: str, peer: tuple[str, int] | None = ("192.0.2.1", 4711)) -> Scope:
    sent = [(b"host", b"x"), *((b"x-forwarded-for", value.encode("latin-1")) for value in forwarded)]
    return {"type": "http", "client": peer, "headers": sent}  # type: ignore[return-value]


@pytest.mark.attack(83)
@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, ["203.0.113.9"], "192.0.2.1"),
        (1, [], "192.0.2.1"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["10.0.0.1, 127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (1, ["10.0.0.1", "203.0.113.9"], "203.0.113.9"),
        (2, ["10.0.0.1, 203.0.113.9, 198.51.100.2"], "203.0.113.9"),
        (2, ["203.0.113.9"], "203.0.113.9"),
        (1, [", ,203.0.113.9 ,"], "203.0.113.9"),
        (1, ["203.0.113.9:51234"], "203.0.113.9"),
        (1, ['"[2001:db8::7]:443"'], "2001:db8::7"),
        (1, ["2001:0DB8:0::7"], "2001:db8::7"),
        (1, ["::ffff:203.0.113.9"], "203.0.113.9"),
        (1, ["fe80::1%eth0"], "fe80::1"),
        (1, ["unknown"], "192.0.2.1"),
        (1, ["\xff\x00"], "192.0.2.1"),
        (1, ["9" * 5000], "192.0.2.1"),
    ],
)
def test_only_what_our_own_proxies_wrote_is_believed(hops: int, forwarded: list[str], address: str) -> None:
    assert client_address(scope(*forwarded), hops) == address


@pytest.mark.parametrize("peer", [None, ("testclient", 1), ("", 1)])
def test_a_caller_without_an_address_is_counted_too(peer: tuple[str, int] | None) -> None:
    assert client_address(scope(peer=peer), 0) == "::"


def test_a_caller_s_whole_ipv6_network_is_counted_as_one() -> None:
    assert counted_address("2001:db8:1:2:3:4:5:6") == counted_address("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert counted_address("2001:db8:1:3::") != counted_address("2001:db8:1:2::")
    assert counted_address("203.0.113.9") == "203.0.113.9"


def test_the_headers_are_those_of_the_draft() -> None:
    passed = Decision(allowed=True, limit=POLICY, remaining=50, reset_seconds=30)
    assert headers(passed) == {b"ratelimit-policy": b'"api";q=100;w=60', b"ratelimit": b'"api";r=50;t=30'}


def test_a_refusal_says_when_to_come_back() -> None:
    refused = Decision(allowed=False, limit=POLICY, remaining=0, reset_seconds=60, wait=1_200_000)
    error = refusal(refused)
    assert error.status == 429
    assert error.headers == {
        "ratelimit-policy": '"api";q=100;w=60',
        "ratelimit": '"api";r=0;t=2',  # no later than Retry-After: section 6 of the draft
        "retry-after": "2",
    }


# ---- the middleware


class Site:
    """A small application behind the middleware, and the number of requests that reached a handler."""

    def __init__(self, limiter: Limiter) -> None:
        self.reached = 0
        self.limiter = limiter
        self.addresses = AddressRateLimit(
            limiter,
            anonymous=Limit("address", 3, 60),
            refusals=Limit("refusals", 2, 60),
            trusted_hops=1,
        )

        @get("/open", public="everybody may")
        async def open_page(request: Request[Any, Any, Any]) -> str:
            self.reached += 1
            return str(request.scope["state"]["rate_limit"].remaining)

        @get("/members")
        async def members(request: Request[Any, Any, Any]) -> str:
            self.reached += 1
            if request.headers.get("authorization") == "Bearer guess":
                await self.addresses.credential_refused(request.scope)
            return str(request.scope["state"]["client_address"])

        @get("/livez", public="a probe")
        async def livez() -> None: ...

        self.app = Litestar(
            [open_page, members, livez],
            middleware=[self.addresses],
            exception_handlers={RateLimited: _answer},
            openapi_config=None,
            logging_config=None,
        )

    async def get(self, path: str, address: str = "203.0.113.1", **headers: str) -> httpx.Response:
        return await self.ask("GET", path, address, **headers)

    async def ask(self, method: str, path: str, address: str = "203.0.113.1", **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]  # its hints know no TypedDicts
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, headers={"x-forwarded-for": address, **headers})


def _answer(_: Request[Any, Any, Any], error: RateLimited) -> Response[None]:
    return Response(None, status_code=error.status, headers=error.headers)


@pytest.fixture
async def site(redis_url: str) -> AsyncIterator[Site]:
    async with connect(redis_url) as redis:
        await redis.flushdb()
        yield Site(Limiter(redis))


async def test_strangers_are_limited_by_address(site: Site) -> None:
    statuses = [(await site.get("/members")).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert site.reached == 3
    assert (await site.get("/members", "203.0.113.2")).status_code == 200


async def test_a_refused_stranger_is_told_when_to_come_back(site: Site) -> None:
    answers = [await site.get("/open") for _ in range(4)]
    assert [answer.text for answer in answers[:3]] == ["2", "1", "0"]
    assert answers[-1].headers["retry-after"] == "20"
    assert answers[-1].headers["ratelimit"] == '"address";r=0;t=20'


@pytest.mark.parametrize("shown", [{"authorization": "Bearer live"}, {"cookie": f"{COOKIE}=x"}])
async def test_credentials_are_limited_elsewhere(site: Site, shown: dict[str, str]) -> None:
    assert {(await site.get("/members", **shown)).status_code for _ in range(6)} == {200}


async def test_a_credential_nobody_checks_lifts_no_limit(site: Site) -> None:
    statuses = [(await site.get("/open", authorization="Bearer live")).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


async def test_a_credential_lifts_no_limit_of_options_for_which_nobody_checks_it(site: Site) -> None:
    asked = [await site.ask("OPTIONS", "/members", authorization="Bearer live") for _ in range(4)]
    assert [answer.status_code for answer in asked] == [204, 204, 204, 429]


async def test_guessing_credentials_is_stopped(site: Site) -> None:
    statuses = [(await site.get("/members", authorization="Bearer guess")).status_code for _ in range(6)]
    assert statuses == [200, 200, 429, 429, 429, 429]


async def test_past_the_limit_guesses_are_refused_without_asking_redis(site: Site) -> None:
    asked = 0

    async def count(limits: Sequence[tuple[str, Limit]]) -> Decision:
        nonlocal asked
        asked += 1
        return await Limiter.check(site.limiter, limits)

    site.limiter.check = count  # type: ignore[method-assign]
    for _ in range(20):
        last = await site.get("/members", authorization="Bearer guess")
    assert asked == 3  # the third was one too many, and is remembered
    assert 0 < int(last.headers["retry-after"]) <= 60


async def test_a_refusal_holds_until_one_request_would_pass() -> None:
    clock = {"now": 100.0}
    still = StillRefused(lambda: clock["now"])
    still.hold("ada", Decision(allowed=False, limit=POLICY, remaining=0, reset_seconds=60, wait=1_500_000))
    assert still.decision("eve") is None
    for clock["now"], left in ((100.0, 2), (100.6, 1), (101.4, 1)):
        held = still.decision("ada")
        assert held is not None
        assert (held.allowed, held.retry_after) == (False, left)
    clock["now"] = 101.5
    assert still.decision("ada") is None


async def test_one_of_many_who_share_a_limit_has_it_decided_anew() -> None:
    clock = {"now": 100.0}
    still = StillRefused(lambda: clock["now"])
    other = msgspec.structs.replace(POLICY, name="another")
    refusal = Decision(allowed=False, limit=POLICY, remaining=0, reset_seconds=60, wait=1_000_000)
    for who in ("ada", "bob", "acme"):
        still.hold(who, refusal)
    still.hold("guest", msgspec.structs.replace(refusal, limit=other))
    clock["now"] = 105.0
    assert {still.decision(who, "acme") for who in ("ada", "bob", "guest", "eve")} == {None}
    still.hold("acme", refusal)
    refused = {who: still.decision(who, "acme") for who in ("ada", "bob", "guest", "eve")}
    assert [who for who, decision in refused.items() if decision] == ["ada", "bob"]
    clock["now"] = 161.5
    assert still.decision("bob", "acme") is None
    still.hold("acme", refusal)
    assert still.decision("ada", "acme") is None, "it is too long ago"


async def test_a_guesser_s_neighbours_are_not_turned_away(site: Site) -> None:
    for _ in range(4):
        refused = await site.get("/members", "2001:db8::1", authorization="Bearer guess")
    assert refused.status_code == 429
    for neighbour in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        answer = await site.get("/members", neighbour, authorization="Bearer live")
        assert (answer.status_code, answer.text) == (200, neighbour)
    assert (await site.get("/members", "2001:db8::2", authorization="Bearer guess")).status_code == 429


async def test_probes_are_never_refused(site: Site) -> None:
    assert {(await site.get("/livez")).status_code for _ in range(10)} == {200}


async def test_remembered_guessers_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.core.http.still_refused._REMEMBERED", 2)
    for last in (1, 2, 3):
        for _ in range(3):
            await site.get("/members", f"203.0.113.{last}", authorization="Bearer guess")
    assert list(site.addresses._guessing._held) == ["203.0.113.2", "203.0.113.3"]
