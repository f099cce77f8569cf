"""How often sign-in and its letters may be asked for."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import msgspec
import pytest

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from insula.core.ids import new_id
from insula.core.tokens import credential_id, mint
from insula.settings import Settings
from tests.conftest import running
from tests.factories import World
from tests.features.signing_in import PASSWORD, give_password

PER_MINUTE = 4


@pytest.fixture(scope="module")
async def guarded(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    """The program as strangers meet it, behind one proxy of ours."""
    async with program(
        msgspec.structs.replace(settings, rate_sign_in_per_minute=PER_MINUTE, trusted_proxies=1), superuser
    ) as world:
        yield world


@asynccontextmanager
async def program(settings: Settings, superuser: asyncpg.Connection) -> AsyncIterator[World]:
    app = create_litestar(settings)
    async with running(app):
        yield World(AccessLog(app), settings, superuser)


def address() -> str:
    """A mailbox and, as a name, a caller that no other test has used."""
    return f"{new_id('x')[-10:]}@example.com"


async def try_from(
    world: World, caller: int, email: str, path: str = "sign-in", password: str = "whatever it may be"
) -> httpx.Response:
    headers = {"x-forwarded-for": f"198.51.{caller // 256}.{caller % 256}"}
    body = {"email": email} if path != "sign-in" else {"email": email, "password": password}
    return await world.client().post(f"/v1/auth/{path}", json=body, headers=headers)


async def test_passwords_of_refused_sign_ups_are_looked_at_only_so_often_and_take_no_try_away(guarded: World) -> None:
    async def told(caller: str) -> list[str]:
        body = {"name": "Ada", "email": "x", "password": "passwordpassword"}
        answer = await guarded.client().post("/v1/auth/sign-up", json=body, headers={"x-forwarded-for": caller})
        assert answer.status_code == 400
        return [error["pointer"] for error in answer.json()["errors"]]

    looks = [await told("198.51.100.77") for _ in range(PER_MINUTE + 2)]
    assert looks == [["/email", "/password"]] * PER_MINUTE + [["/email"]] * 2
    assert await told("198.51.100.78") == ["/email", "/password"]
    assert (await try_from(guarded, 100 * 256 + 77, address())).status_code == 401


async def test_one_address_guesses_at_many_accounts_only_so_often(guarded: World) -> None:
    answers = [await try_from(guarded, 1, address()) for _ in range(PER_MINUTE + 1)]
    assert [answer.status_code for answer in answers] == [401] * PER_MINUTE + [429]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    wait = refused.headers["retry-after"]
    assert 1 <= int(wait) <= 60 // PER_MINUTE
    assert refused.headers["ratelimit"] == f'"sign-in";r=0;t={wait}'
    assert refused.headers["ratelimit-policy"] == f'"sign-in";q={PER_MINUTE};w=60'
    assert (await try_from(guarded, 2, address())).status_code == 401


@pytest.mark.attack(17)
async def test_who_guesses_too_often_is_told_the_same_whether_or_not_there_is_an_account(guarded: World) -> None:
    owner = await guarded.person()
    await give_password(guarded, owner)
    told = []
    for caller, email in ((30, owner.email), (31, address())):
        answers = [await try_from(guarded, caller, email) for _ in range(PER_MINUTE + 2)]
        assert [answer.status_code for answer in answers] == [401] * PER_MINUTE + [429] * 2
        bodies = [{**answer.json(), "request_id": "", "detail": ""} for answer in answers]
        told.append([(body, sorted(answer.headers)) for body, answer in zip(bodies, answers, strict=True)])
    assert told[0] == told[1]


async def test_a_stranger_who_guesses_without_end_does_not_keep_the_owner_out(guarded: World) -> None:
    owner = await guarded.person()
    await give_password(guarded, owner)
    for _ in range(3 * PER_MINUTE):
        stranger = await try_from(guarded, 10, owner.email)
    assert stranger.status_code == 429
    assert (await try_from(guarded, 11, owner.email, password=PASSWORD)).status_code == 200


@pytest.mark.attack(23)
async def test_a_crowd_of_addresses_guesses_at_one_account_only_so_often_and_others_do_not_suffer(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    careful = msgspec.structs.replace(settings, rate_sign_in_per_minute=1, trusted_proxies=1)
    async with program(careful, superuser) as world:
        victim, crowd, began = address(), 20, time.monotonic()
        answers = [await try_from(world, 10_000 + caller, victim) for caller in range(150)]
        # Never a lock: one more try every so often, whatever the guessers do.
        often = 3600 // (6 * crowd)
        more = int(time.monotonic() - began) // often + 1
        let_in = [answer.status_code == 401 for answer in answers]
        assert let_in[:crowd] == [True] * crowd
        assert sum(let_in) <= crowd + more
        waits = {int(answer.headers["retry-after"]) for answer in answers if answer.status_code == 429}
        assert waits <= set(range(1, often + 1))
        assert (await try_from(world, 10_200, victim.upper())).status_code == 429
        assert (await try_from(world, 10_201, address())).status_code == 401


async def test_refused_wishes_for_letters_cost_their_address_as_much_as_granted_ones(guarded: World) -> None:
    answers = [await try_from(guarded, 20, "the.same@example.com", "reset-mail") for _ in range(PER_MINUTE)]
    assert [answer.status_code for answer in answers] == [202] * (PER_MINUTE // 2) + [429] * (PER_MINUTE // 2)
    assert (await try_from(guarded, 20, address(), "reset-mail")).status_code == 429


@pytest.mark.parametrize("path", ["reset-mail", "verification-mail"])
async def test_a_mailbox_is_not_flooded_from_many_addresses(guarded: World, path: str) -> None:
    victim, few = address(), 3 * (PER_MINUTE // 2)
    base = 300 if path == "reset-mail" else 400
    answers = [await try_from(guarded, base + caller, victim, path) for caller in range(few + 1)]
    assert [answer.status_code for answer in answers] == [202] * few + [429]
    assert (await try_from(guarded, base + 99, address(), path)).status_code == 202
    other = "verification-mail" if path == "reset-mail" else "reset-mail"
    assert (await try_from(guarded, base + 98, victim, other)).status_code == 202


async def test_nor_by_appending_something_else_to_its_address_each_time(guarded: World) -> None:
    few, (local, domain) = 3 * (PER_MINUTE // 2), address().split("@")
    answers = [
        await try_from(guarded, 600 + caller, f"{local}+{caller}@{domain}", "verification-mail")
        for caller in range(few + 1)
    ]
    assert [answer.status_code for answer in answers] == [202] * few + [429]


async def test_a_stranger_who_asks_for_letters_without_end_does_not_keep_the_owner_from_theirs(guarded: World) -> None:
    victim = address()
    answers = [await try_from(guarded, 500, victim, "reset-mail") for _ in range(PER_MINUTE)]
    assert answers[-1].status_code == 429
    assert (await try_from(guarded, 501, victim, "reset-mail")).status_code == 202


async def test_without_redis_the_limits_are_stricter_and_sign_in_goes_on(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    away = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1/0", rate_sign_in_per_minute=8)
    async with program(away, superuser) as world:
        answers = [await try_from(world, 1, address()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]


async def test_the_sessions_of_one_person_share_one_limit(settings: Settings, superuser: asyncpg.Connection) -> None:
    async with program(msgspec.structs.replace(settings, rate_per_minute=3), superuser) as world:
        person, other = await world.person(), await world.person()
        tokens = [await world.session(person.id) for _ in range(5)]
        answers = [(await world.client(token).get("/v1/me")).status_code for token in tokens]
        assert answers == [200] * 3 + [429] * 2
        assert (await world.client(other.token).get("/v1/me")).status_code == 200


async def test_nor_do_many_sessions_ask_more_often_where_their_person_is_turned_away(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    async with program(msgspec.structs.replace(settings, rate_per_minute=3), superuser) as world:
        person, owner = await world.person(), await world.owner()
        tokens = [await world.session(person.id) for _ in range(5)]
        answers = [(await world.client(token).get(owner.url("/projects"))).status_code for token in tokens]
        assert answers == [404] * 3 + [429] * 2
        assert (await world.client(tokens[0]).get("/v1/me")).status_code == 200, "they have their own limit there"


async def test_a_guesser_in_the_office_is_stopped_and_locks_nobody_out(
    settings: Settings, superuser: asyncpg.Connection
) -> None:
    async with program(msgspec.structs.replace(settings, rate_anonymous_per_minute=3), superuser) as world:
        person = await world.person()
        guesses = [await world.client(mint("session", credential_id())).get("/v1/me") for _ in range(6)]
        assert [answer.status_code for answer in guesses] == [401] * 3 + [429] * 3
        assert {(await world.client(person.token).get("/v1/me")).status_code for _ in range(6)} == {200}


@pytest.mark.parametrize(
    "shown",
    [
        {"authorization": "Bearer x"},
        {"authorization": "Basic x"},
        {"cookie": "__Host-insula_session=x"},
    ],
)
async def test_what_can_be_no_credential_is_counted_like_a_guess(
    settings: Settings, superuser: asyncpg.Connection, shown: dict[str, str]
) -> None:
    changed = msgspec.structs.replace(settings, rate_anonymous_per_minute=3, trusted_proxies=1)
    headers = {"x-forwarded-for": f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1", **shown}
    async with program(changed, superuser) as world:
        person, stranger = await world.person(), world.client()
        answers = [(await stranger.post("/v1/me/sessions/revocation", headers=headers)).status_code for _ in range(6)]
        assert set(answers[:3]) <= {401, 403, 404, 405}
        assert answers[3:] == [429] * 3
        assert (await world.client(person.token).get("/v1/me")).status_code == 200
