"""Group C of the attack list: fixed, stolen, forged, leaked and countless sessions."""

import json
from http.cookies import SimpleCookie

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from insula.core.http.authentication import COOKIE
from insula.core.ids import to_uuid
from insula.core.logs import redact
from insula.core.tokens import credential_id, mint
from tests.conftest import running
from tests.factories import ORIGIN, Member, Person, World
from tests.features.signing_in import NEW_PASSWORD, PASSWORD, give_password, sign_in

FROM_OUR_PAGE = {"origin": ORIGIN}


async def cookie_sign_in(world: World, person: Person, cookie: str | None = None) -> httpx.Response:
    headers = FROM_OUR_PAGE | ({"cookie": f"{COOKIE}={cookie}"} if cookie else {})
    body = {"email": person.email, "password": PASSWORD, "transport": "cookie"}
    return await world.client().post("/v1/auth/sign-in", json=body, headers=headers)


def cookie_of(answer: httpx.Response) -> str:
    return SimpleCookie(answer.headers["set-cookie"])[COOKIE].value


async def ask_me(world: World, cookie: str) -> int:
    return (await world.client().get("/v1/me", headers={"cookie": f"{COOKIE}={cookie}"})).status_code


@pytest.mark.attack(29)
async def test_a_session_from_before_the_sign_in_is_dead_after_it(world: World) -> None:
    victim, attacker = await world.person(), await world.person()
    await give_password(world, victim)
    planted = attacker.token  # a live session of the attacker's own, set in the victim's browser
    made_up = mint("session", credential_id())  # a well-formed one that never was
    for fixed in (planted, made_up, "anything"):
        signed_in = await cookie_sign_in(world, victim, fixed)
        assert signed_in.status_code == 200, signed_in.text
        assert cookie_of(signed_in) != fixed
        assert await ask_me(world, fixed) == 401
        assert await ask_me(world, cookie_of(signed_in)) == 200
    first = await cookie_sign_in(world, victim)
    second = await cookie_sign_in(world, victim, cookie_of(first))
    assert cookie_of(first) != cookie_of(second)
    assert await ask_me(world, cookie_of(first)) == 401


@pytest.mark.attack(29)
async def test_a_bearer_sign_in_ends_no_session_and_a_failed_one_neither(world: World) -> None:
    person = await world.person()
    await give_password(world, person)
    await sign_in(world.client(person.token), person.email)
    body = {"email": person.email, "password": NEW_PASSWORD, "transport": "cookie"}
    headers = FROM_OUR_PAGE | {"cookie": f"{COOKIE}={person.token}"}
    assert (await world.client().post("/v1/auth/sign-in", json=body, headers=headers)).status_code == 401
    assert await ask_me(world, person.token) == 200


@pytest.mark.attack(30)
async def test_what_ends_a_session_ends_it_for_the_next_request_on_every_replica(world: World) -> None:
    replica = create_litestar(world.settings)
    async with running(replica):
        other = World(AccessLog(replica), world.settings, world.superuser)

        async def everywhere(person: Person) -> set[int]:
            return {(await here.client(person.token).get("/v1/me")).status_code for here in (world, other)}

        signed_out, changed, disabled, removed = [await world.person() for _ in range(4)]
        assert await everywhere(signed_out) == {200}
        await world.client(signed_out.token).post("/v1/auth/sign-out")
        assert await everywhere(signed_out) == {401}

        await give_password(world, changed)
        elsewhere = world.client(await world.session(changed.id))
        await elsewhere.put("/v1/me/password", json={"current_password": PASSWORD, "new_password": NEW_PASSWORD})
        assert await everywhere(changed) == {401}

        await world.superuser.execute('UPDATE app."user" SET disabled_at = now() WHERE email = $1', disabled.email)
        assert await everywhere(disabled) == {401}

        member = await world.member((await world.owner()).organization_id, "member", removed)
        assert await _projects(world, other, member) == {200}
        await world.superuser.execute("DELETE FROM app.membership WHERE id = $1", to_uuid("mem", member.membership_id))
        assert await _projects(world, other, member) == {404}
        assert await everywhere(removed) == {200}


async def _projects(world: World, other: World, member: Member) -> set[int]:
    clients = (here.client(member.person.token) for here in (world, other))
    return {(await client.get(member.url("/projects"))).status_code for client in clients}


@pytest.mark.attack(31)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ORIGIN + ".evil.example"}, 403),
        ({"origin": ORIGIN.replace("http", "https")}, 403),
        ({}, 403),
        ({"referer": ORIGIN}, 403),
        ({"x-http-method-override": "GET"}, 403),
        ({"origin": "https://evil.example", "x-requested-with": "XMLHttpRequest"}, 403),
        ({"origin": ORIGIN, "content-type": "text/plain"}, 403),
        ({"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"}, 403),
        ({"origin": ORIGIN}, 200),
        ({"x-requested-with": "XMLHttpRequest"}, 200),
    ],
)
async def test_another_sites_page_cannot_use_the_cookie(world: World, headers: dict[str, str], status: int) -> None:
    person = await world.person()
    given = {"content-type": "application/json", "cookie": f"{COOKIE}={person.token}"} | headers
    client = world.client()
    ended = await client.post("/v1/me/sessions/revocation", content="{}", headers=given)
    assert ended.status_code == status, ended.text
    if status == 403:
        for method, path, body in (
            ("PATCH", "/v1/me", {"name": "Eve"}),
            ("PUT", "/v1/me/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
            ("POST", "/v1/auth/sign-out", {}),
        ):
            forged = await client.request(method, path, content=json.dumps(body), headers=given | {"if-match": "*"})
            assert forged.status_code in {403, 415}, (method, path)
        assert await ask_me(world, person.token) == 200


@pytest.mark.attack(31)
async def test_another_sites_page_cannot_sign_a_browser_in(world: World) -> None:
    """Whoever is signed in as the attacker without knowing types their data into the attacker's account."""
    attacker = await world.person()
    await give_password(world, attacker)
    body = json.dumps({"email": attacker.email, "password": PASSWORD, "transport": "cookie"})
    for headers in ({"content-type": "text/plain"}, {"origin": "https://evil.example", "content-type": "text/plain"}):
        forged = await world.client().post("/v1/auth/sign-in", content=body, headers=headers)
        assert forged.status_code in {403, 415}
        assert "set-cookie" not in forged.headers
    assert (await cookie_sign_in(world, attacker)).status_code == 200


@pytest.mark.attack(32)
async def test_the_cookie_is_for_our_host_over_https_and_not_for_scripts(world: World) -> None:
    person = await world.person()
    await give_password(world, person)
    signed_in = await cookie_sign_in(world, person)
    assert signed_in.json()["token"] is None
    name, _, rest = signed_in.headers["set-cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert name.startswith("__Host-")
    assert value.startswith("ins_ses_")
    lifetime = world.settings.session_max_hours * 3600
    ages = [attribute for attribute in attributes if attribute.startswith("Max-Age=")]
    assert lifetime - 5 <= int(ages[0].removeprefix("Max-Age=")) <= lifetime
    assert {attribute.lower() for attribute in attributes} - {ages[0].lower()} == {
        "secure", "httponly", "samesite=lax", "path=/",
    }  # fmt: skip
    signed_out = await world.client().post("/v1/auth/sign-out", headers=FROM_OUR_PAGE | {"cookie": f"{COOKIE}={value}"})
    assert signed_out.status_code == 204
    assert "Max-Age=0" in signed_out.headers["set-cookie"]
    assert await ask_me(world, value) == 401


@pytest.mark.attack(32)
async def test_a_cookie_tossed_in_from_a_sub_domain_is_not_believed(world: World) -> None:
    mine, tossed = (await world.person()).token, (await world.person()).token
    for cookies in (
        [f"{COOKIE}={mine}; {COOKIE}={tossed}"],
        [f"{COOKIE}={mine}", f"{COOKIE}={tossed}"],
        [f"insula_session={tossed}"],
        [f"__host-insula_session={tossed}"],
        [f"__Secure-insula_session={tossed}"],
        [f"\x85{COOKIE}={tossed}"],  # spaces to Python, part of another name to a browser
        [f"\xa0{COOKIE}={tossed}"],
        [f"\x0b{COOKIE}={tossed}"],
        [f"theme=dark;\xa0{COOKIE}={tossed}"],
    ):
        headers = [(b"cookie", cookie.encode("latin-1")) for cookie in cookies]
        assert (await world.client().get("/v1/me", headers=headers)).status_code == 401, cookies
    for spaced in (f"{COOKIE}={mine}", f"theme=dark; \t{COOKIE}={mine}"):
        assert (await world.client().get("/v1/me", headers={"cookie": spaced})).status_code == 200


@pytest.mark.attack(37)
async def test_a_token_is_taken_from_headers_only_and_never_logged(world: World) -> None:
    person = await world.person()
    await give_password(world, person)
    capture = LogCapture()
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    try:
        for name in ("token", "access_token", "session", "authorization", COOKIE):
            assert (await world.client().get("/v1/me", params={name: person.token})).status_code == 401
            also = await world.client(person.token).get("/v1/me", params={name: person.token})
            assert also.status_code == 400
            assert person.token not in also.text
        assert (
            await world.client().get("/v1/me", headers={"referer": f"{ORIGIN}/?token={person.token}"})
        ).status_code == 401
        assert (await world.client().get(f"/v1/me/{person.token}")).status_code in {401, 404}
        signed_in = await sign_in(world.client(), person.email)
        token = signed_in.json()["token"]
        await world.client(token).get("/v1/me/sessions")
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        assert (await world.client(token).put("/v1/me/password", json=body)).status_code == 204
        assert (await world.client(token).post("/v1/auth/sign-out")).status_code == 204
    finally:
        structlog.configure(processors=before)
    assert len(capture.entries) >= 10
    text = repr([redact(entry) for entry in capture.entries])  # as core/logs.py writes them
    for secret in (person.token, token, PASSWORD, NEW_PASSWORD, person.email):
        assert secret not in text


@pytest.mark.attack(38)
async def test_a_person_has_so_many_sessions_and_the_oldest_make_room(world: World) -> None:
    person = await world.person()
    await give_password(world, person)
    user_id, kept = to_uuid("usr", person.id), world.settings.sessions_per_user
    await world.superuser.execute(
        "INSERT INTO app.credential (id, kind, hash, user_id, expires_at)"
        " SELECT overlay(gen_random_uuid()::text placing lpad(to_hex(n), 8, '0') from 1 for 8)::uuid, 'session',"
        " sha256(uuid_send(gen_random_uuid())), $1, now() + interval '1 day' FROM generate_series(1, 10000) AS n",
        user_id,
    )
    newest = [await sign_in(world.client(), person.email) for _ in range(3)]
    live = await world.superuser.fetch(
        "SELECT id FROM app.credential WHERE user_id = $1 AND kind = 'session' AND revoked_at IS NULL ORDER BY id",
        user_id,
    )
    assert len(live) == kept
    for answer in newest:
        assert (await world.client(answer.json()["token"]).get("/v1/me")).status_code == 200
    # The flood's ids begin in 1970, in the order of its numbers: its newest are what is left of it.
    left = [int(row["id"].hex[:8], 16) for row in live if row["id"].hex.startswith("0000")]
    assert left == list(range(10000 - len(left) + 1, 10001))
    assert (await world.client(person.token).get("/v1/me")).status_code == 200
