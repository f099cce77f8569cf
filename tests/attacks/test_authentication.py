"""Group B of the attack list: guessing, enumerating, resetting, exhausting."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from litestar import Litestar

from insula.core import passwords as argon2
from insula.core.ids import to_uuid
from insula.core.passwords import Passwords
from insula.features.identity.doors import IdentityDoors
from tests.factories import Person, World
from tests.features.signing_in import NEW_PASSWORD, PASSWORD, give_password, sign_in
from tests.features.test_identity_letters import Mailbox

NOT_COMPARED = {"x-request-id", "ratelimit"}
"""Both are about the request, which every caller knows without an account."""


@pytest.fixture
def mailbox(world: World, litestar: Litestar) -> Mailbox:
    return Mailbox(world, litestar)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What a request costs, in order: every statement it sends and the cost of every hash it makes."""
    done: list[Any] = []
    call, cooked = IdentityDoors._call, argon2._cooked

    async def counted_call(self: IdentityDoors, door: str, *arguments: Any) -> Any:
        done.append(door)
        return await call(self, door, *arguments)

    def counted_cooked(text: str, recipe: str) -> str:
        done.append(recipe.split("$")[3])
        return cooked(text, recipe)

    monkeypatch.setattr(IdentityDoors, "_call", counted_call)
    monkeypatch.setattr(argon2, "_cooked", counted_cooked)
    yield done


def seen(answer: httpx.Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    """All that a caller learns from an answer."""
    body = {name: value for name, value in answer.json().items() if name != "request_id"}
    return answer.status_code, body, {name: value for name, value in answer.headers.items() if name not in NOT_COMPARED}


async def give_modern_password(world: World, person: Person, hashed: str) -> None:
    await world.superuser.execute("INSERT INTO app.password VALUES ($1, $2)", to_uuid("usr", person.id), hashed)


@pytest.mark.attack(17)
async def test_a_failed_sign_in_says_and_costs_the_same_whatever_the_reason(
    world: World, mailbox: Mailbox, work: list[Any]
) -> None:
    wrong, unverified, disabled, without_password = [await world.person() for _ in range(4)]
    hashed = PasswordHasher.from_parameters(argon2.PARAMETERS).hash(PASSWORD)
    for person in (wrong, unverified, disabled):
        await give_modern_password(world, person, hashed)
    await world.superuser.execute('UPDATE app."user" SET email_verified_at = NULL WHERE email = $1', unverified.email)
    await world.superuser.execute('UPDATE app."user" SET disabled_at = now() WHERE email = $1', disabled.email)
    stranger = world.client()
    signing_up = "not.yet.verified@example.com"
    await stranger.post("/v1/auth/sign-up", json={"name": "Ada", "email": signing_up, "password": PASSWORD})
    await mailbox.open(signing_up)

    answers, costs = [], []
    for email, password in (
        ("nobody.at.all@example.com", PASSWORD),
        (wrong.email, NEW_PASSWORD),
        (unverified.email, PASSWORD),
        (signing_up, PASSWORD),
        (disabled.email, PASSWORD),
        (without_password.email, PASSWORD),
    ):
        work.clear()
        answers.append(seen(await sign_in(stranger, email, password)))
        costs.append(list(work))
    assert answers[0][0] == 401
    assert all(answer == answers[0] for answer in answers)
    assert len(costs[0]) == 3  # a look, a hash, a door
    assert all(cost == costs[0] for cost in costs)


@pytest.mark.attack(18)
@pytest.mark.parametrize("path", ["sign-up", "reset-mail", "verification-mail"])
async def test_asking_for_a_letter_tells_nobody_who_has_an_account(world: World, work: list[Any], path: str) -> None:
    known, disabled = await world.person(), await world.person()
    await world.superuser.execute('UPDATE app."user" SET disabled_at = now() WHERE email = $1', disabled.email)
    stranger = world.client()
    unverified, absent = f"unverified.{path}@example.com", f"absent.{path}@example.com"
    await stranger.post("/v1/auth/sign-up", json={"name": "Ada", "email": unverified, "password": PASSWORD})

    more = {"name": "Ada", "password": PASSWORD} if path == "sign-up" else {}
    answers, costs = [], []
    for email in (absent, known.email, unverified, disabled.email):
        work.clear()
        answers.append(seen(await stranger.post(f"/v1/auth/{path}", json={"email": email, **more})))
        costs.append(list(work))
    assert answers[0][0] == 202
    assert all(answer == answers[0] for answer in answers)
    assert len(costs[0]) == (2 if path == "sign-up" else 1)
    assert all(cost == costs[0] for cost in costs)


@pytest.mark.attack(18)
async def test_a_sign_up_leaves_one_letter_whether_or_not_there_is_an_account(world: World, mailbox: Mailbox) -> None:
    known, unverified, absent = (await world.person()).email, "left.unverified@example.com", "left.absent@example.com"
    body = {"name": "Ada", "password": PASSWORD}
    await world.client().post("/v1/auth/sign-up", json={"email": unverified, **body})
    await mailbox.open(unverified)
    for email in (known, unverified, absent):
        await world.client().post("/v1/auth/sign-up", json={"email": email, **body})
        assert len(await mailbox.open(email)) == 1


async def reset_link(world: World, mailbox: Mailbox, person: Person) -> str:
    await world.client().post("/v1/auth/reset-mail", json={"email": person.email})
    return await mailbox.token(person.email)


async def reset(client: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD) -> int:
    return (await client.post("/v1/auth/reset", json={"token": token, "password": password})).status_code


@pytest.mark.attack(19)
async def test_a_reset_link_works_once_and_ends_every_session(world: World, mailbox: Mailbox) -> None:
    person, stranger = await world.person(), world.client()
    await give_password(world, person)
    devices = [world.client(person.token), world.client(await world.session(person.id))]
    link = await reset_link(world, mailbox, person)
    assert await reset(stranger, link) == 204
    assert [(await device.get("/v1/me")).status_code for device in devices] == [401, 401]
    assert (await sign_in(stranger, person.email)).status_code == 401
    assert (await sign_in(stranger, person.email, NEW_PASSWORD)).status_code == 200
    assert await reset(stranger, link, "yet another fine password") == 400
    assert (await sign_in(stranger, person.email, NEW_PASSWORD)).status_code == 200


@pytest.mark.attack(19)
async def test_of_many_uses_of_one_reset_link_at_once_one_succeeds(world: World, mailbox: Mailbox) -> None:
    person, stranger = await world.person(), world.client()
    link = await reset_link(world, mailbox, person)
    answers = await asyncio.gather(*(reset(stranger, link, f"password of attempt {n}") for n in range(6)))
    assert sorted(answers) == [204] + [400] * 5


@pytest.mark.attack(19)
async def test_an_altered_expired_superseded_or_foreign_reset_link_is_refused(world: World, mailbox: Mailbox) -> None:
    person, stranger = await world.person(), world.client()
    link = await reset_link(world, mailbox, person)
    flipped = [link[:n] + chr(ord(link[n]) ^ 1) + link[n + 1 :] for n in range(0, len(link), 7)]
    assert {await reset(stranger, token) for token in (*flipped, link[:-1], link + "a", "", "nonsense")} == {400}

    other = await world.person()
    assert await reset(stranger, await reset_link(world, mailbox, other)) == 204
    assert (await world.client(person.token).get("/v1/me")).status_code == 200  # the other's link is the other's

    newer = [await reset_link(world, mailbox, person) for _ in range(5)]
    assert await reset(stranger, link) == 400  # five newer ones took its place
    await world.superuser.execute(
        "UPDATE app.credential SET expires_at = now() WHERE kind = 'reset' AND user_id = $1", to_uuid("usr", person.id)
    )
    assert {await reset(stranger, token) for token in newer} == {400}


@pytest.mark.attack(19)
async def test_a_reset_link_dies_with_the_password_it_was_to_replace(world: World, mailbox: Mailbox) -> None:
    person = await world.person()
    await give_password(world, person)
    link = await reset_link(world, mailbox, person)
    changed = await world.client(person.token).put(
        "/v1/me/password", json={"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    )
    assert changed.status_code == 204
    assert await reset(world.client(), link, "yet another fine password") == 400


@pytest.mark.attack(20)
async def test_no_step_of_a_reset_can_be_left_out(world: World, mailbox: Mailbox, litestar: Litestar) -> None:
    person, stranger = await world.person(), world.client()
    await give_password(world, person)
    assert (await stranger.post("/v1/auth/reset", json={"password": NEW_PASSWORD})).status_code == 400
    body = {"email": person.email, "password": NEW_PASSWORD}
    assert (await stranger.post("/v1/auth/reset", json=body)).status_code == 400
    assert (await stranger.post("/v1/auth/reset-mail", json=body)).status_code == 400
    await stranger.post("/v1/auth/reset-mail", json={"email": person.email})
    assert await reset(stranger, person.token) == 400  # a session is no mailed link
    email = "other.kind@example.com"
    await stranger.post("/v1/auth/sign-up", json={"name": "Ada", "email": email, "password": PASSWORD})
    assert await reset(stranger, await mailbox.token(email)) == 400  # nor is a verification
    link = await mailbox.token(person.email)
    wrong_place = await stranger.post("/v1/auth/verification", json={"token": link, "password": PASSWORD})
    assert wrong_place.status_code == 400
    without_proof = await world.client(person.token).put("/v1/me/password", json={"new_password": NEW_PASSWORD})
    assert without_proof.status_code == 400
    assert (await sign_in(stranger, person.email)).status_code == 200


@pytest.mark.attack(27)
async def test_nobody_takes_an_identifier_that_looks_like_somebody_elses(world: World, mailbox: Mailbox) -> None:
    ada = await world.person(email="ada27@example.com")
    stranger = world.client()

    async def sign_up(email: str) -> int:
        body = {"name": "Ada", "email": email, "password": PASSWORD}
        return (await stranger.post("/v1/auth/sign-up", json=body)).status_code

    # The same address in other letters is the same account: its owner is told, nothing is made.
    for email in ("ADA27@example.com", "ada27@EXAMPLE.COM"):
        assert await sign_up(email) == 202
        assert [mail.template for mail in await mailbox.open(ada.email)] == ["identity/sign_up_attempt"]
    # Look-alikes and variants that mail servers would deliver to Ada are no addresses here.
    for email in (
        "\u0430da27@example.com", "\uff41da27@example.com", "ada27@ex\u0430mple.com", "ada27@example.com.", "ada27.@example.com",
        ".ada27@example.com", "ada27@example.com\n", " ada27@example.com", "ada27@example.com\u0000", '"ada27"@example.com',
        "ada27(x)@example.com", "ada27@\u24d4xample.com", "ada\u00ad27@example.com",
    ):  # fmt: skip
        assert await sign_up(email) == 400, email
    # A tag makes another address; nothing of Ada's account comes with it.
    assert await sign_up("ada27+tag@example.com") == 202
    tagged = await mailbox.token("ada27+tag@example.com")
    verified = await stranger.post("/v1/auth/verification", json={"token": tagged, "password": PASSWORD})
    assert verified.json()["user"]["id"] != ada.id
    # And nobody renames themselves into another's address.
    taken = await world.client(verified.json()["token"]).patch(
        "/v1/me", json={"name": "Ada", "email": ada.email}, headers={"if-match": "*"}
    )
    assert taken.status_code == 400
    count = await world.superuser.fetchval("SELECT count(*) FROM app.\"user\" WHERE email_norm LIKE '%ada27%'")
    assert count == 2


@pytest.mark.attack(28)
async def test_a_storm_of_sign_ins_holds_no_connection_and_no_more_threads_than_allowed(
    world: World, litestar: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    cooked, gate, running, most = argon2._cooked, threading.Event(), 0, 0
    lock = threading.Lock()

    def held_back(text: str, recipe: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(30)
        with lock:
            running -= 1
        return cooked(text, recipe)

    monkeypatch.setattr(argon2, "_cooked", held_back)
    pool: Passwords = litestar.state.passwords
    allowed, parallel = pool._room, world.settings.argon2_parallel
    person = await world.person()
    storm = [asyncio.create_task(sign_in(world.client(), f"storm{n}@example.com")) for n in range(50)]
    try:
        while pool._room > allowed - len(storm):  # until all of them wait for their hash
            await asyncio.sleep(0.01)
        databases = litestar.state.databases
        assert [database.in_use for database in (databases.identity, databases.rw, databases.platform)] == [0, 0, 0]
        assert (await world.client(person.token).get("/v1/me")).status_code == 200
        assert most <= parallel
    finally:
        gate.set()
        answers = await asyncio.gather(*storm)
    assert {answer.status_code for answer in answers} == {401}
    assert most == parallel
    assert pool._room == allowed
