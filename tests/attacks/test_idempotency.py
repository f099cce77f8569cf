"""Attacks on Idempotency-Key: effects without end, answers for others, answers at rest."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import httpx
import pytest

from insula.core.ids import new_id, to_uuid
from insula.core.upkeep import CHORES
from tests.factories import Member, World
from tests.workshop import SECRET

REPLAYED = "idempotent-replayed"


def body(name: str = "Website", then: str = "succeed") -> dict[str, Any]:
    return {"name": name, "then": then}


async def make(member: Member, key: str, **changes: str) -> httpx.Response:
    url = member.url("/workshop/pieces")
    return await member.client.post(url, json=body(**changes), headers={"idempotency-key": key})


async def pieces(superuser: asyncpg.Connection, member: Member) -> list[str]:
    """The names of all there is."""
    tenant = to_uuid("org", member.organization_id)
    rows = await superuser.fetch("SELECT name FROM app.project WHERE tenant_id = $1 ORDER BY name", tenant)
    return [row["name"] for row in rows]


@asynccontextmanager
async def connections_dying(superuser: asyncpg.Connection) -> AsyncIterator[None]:
    """Every few milliseconds one of the program's connections is gone, whatever it was doing."""

    async def kill() -> None:
        while True:
            await asyncio.sleep(random.uniform(0.02, 0.15))
            await superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'app_rw' AND datname = current_database() ORDER BY random() LIMIT 1"
            )

    killing = asyncio.create_task(kill())
    try:
        yield
    finally:
        killing.cancel()
        with suppress(asyncio.CancelledError):
            await killing


async def insisting(member: Member, key: str, name: str) -> httpx.Response:
    """Ask until there is an answer."""
    while True:
        answer = await make(member, key, name=name, then="sleep")
        if answer.status_code == 201:
            return answer
        assert answer.status_code in {409, 503}, answer.text
        assert int(answer.headers["retry-after"]) == 1
        if answer.status_code == 409:
            assert answer.json()["code"] == "request_in_progress"
        await asyncio.sleep(random.uniform(0.05, 0.2))


@pytest.mark.attack(95)
@pytest.mark.parametrize("dying", [False, True])
async def test_duplicates_have_one_effect_and_one_answer(
    shop: World, superuser: asyncpg.Connection, pytestconfig: pytest.Config, dying: bool
) -> None:
    duplicates, keys = pytestconfig.getoption("--duplicates", 40), pytestconfig.getoption("--keys", 3)
    for round_start in range(0, keys, 3):  # a few keys at a time, as many duplicates of each
        owner = await shop.owner()
        names = [f"piece {number}" for number in range(round_start, min(round_start + 3, keys))]
        asked = [(name, insisting(owner, f"key of {name}", name)) for name in names for _ in range(duplicates)]
        if dying:
            async with connections_dying(superuser):
                answers = await asyncio.gather(*(answer for _, answer in asked))
        else:
            answers = await asyncio.gather(*(answer for _, answer in asked))
        assert await pieces(superuser, owner) == sorted(names)
        for name in names:
            same = [answer for (asked_for, _), answer in zip(asked, answers, strict=True) if asked_for == name]
            assert len({answer.content for answer in same}) == 1
            first = [answer for answer in same if REPLAYED not in answer.headers]
            assert len(first) == 1 or (dying and len(first) == 0)  # a dying connection may take the first answer along


@pytest.mark.attack(96)
async def test_a_key_with_another_request_is_refused(shop: World, superuser: asyncpg.Connection) -> None:
    owner = await shop.owner()
    assert (await make(owner, "k")).status_code == 201
    for url, changed in (
        ("/workshop/pieces", body(name="Shop")),
        ("/workshop/pieces", {**body(), "count": 1}),
        ("/projects", body()),
        ("/projects", {"name": "Website", "key": "WEB"}),
    ):
        answer = await owner.client.post(owner.url(url), json=changed, headers={"idempotency-key": "k"})
        refusal = (answer.status_code, answer.json()["code"])
        assert refusal in {(422, "idempotency_key_reused"), (400, "invalid_request")}, url
    assert await pieces(superuser, owner) == ["Website"]


async def test_a_key_with_another_if_match_is_refused(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    path = owner.url(f"/members/{member.membership_id}")
    read = (await owner.client.get(path)).headers["etag"]

    async def suspend(*tags: str) -> httpx.Response:
        headers = [("idempotency-key", "k"), *(("if-match", tag) for tag in tags)]
        return await owner.client.post(f"{path}/suspension", headers=headers)

    first = await suspend(read)
    assert first.status_code == 200
    again = await suspend(read)
    assert (again.content, again.headers[REPLAYED]) == (first.content, "true")
    for tags in ((), (first.headers["etag"],), (read, '"other"'), ("*",)):
        refused = await suspend(*tags)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused"), tags


@pytest.mark.attack(97)
async def test_the_same_key_of_somebody_else_is_another_key(shop: World, superuser: asyncpg.Connection) -> None:
    owner = await shop.owner()
    colleague = await shop.member(owner.organization_id, "member")
    elsewhere = await shop.member((await shop.owner()).organization_id, "member", owner.person)
    second_session = shop.client(await shop.session(owner.person.id))
    answers = [
        await make(owner, "k"),
        await make(colleague, "k"),
        await make(elsewhere, "k"),
        await second_session.post(owner.url("/workshop/pieces"), json=body(), headers={"idempotency-key": "k"}),
    ]
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["id"] for answer in answers}) == 4
    assert not [answer for answer in answers if REPLAYED in answer.headers]
    assert len(await pieces(superuser, owner)) == 3
    for member, first in ((owner, answers[0]), (colleague, answers[1]), (elsewhere, answers[2])):
        again = await make(member, "k")
        assert again.content == first.content
        assert again.headers[REPLAYED] == "true"


async def test_a_replay_is_the_first_answer_under_a_request_id_of_its_own(shop: World) -> None:
    owner = await shop.owner()
    request = {
        "json": {"name": "Website", "key": "WEB", "metadata": {"long": "x" * 1000, "longer": "y" * 1000}},
        "headers": {"idempotency-key": "k", "accept-encoding": "gzip"},
    }
    first, again = [await owner.client.post(owner.url("/projects"), **request) for _ in range(2)]
    assert (again.status_code, again.content) == (first.status_code, first.content) == (201, first.content)
    changing = {REPLAYED, "x-request-id", "ratelimit"}
    assert {k: v for k, v in again.headers.items() if k not in changing} == {
        k: v for k, v in first.headers.items() if k not in changing
    }
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["etag"] == '"1"'
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    plain = await owner.client.post(
        owner.url("/projects"), json=request["json"], headers={"idempotency-key": "k", "accept-encoding": "identity"}
    )
    assert plain.content == first.content


async def test_a_refusal_is_not_kept(shop: World, superuser: asyncpg.Connection) -> None:
    owner = await shop.owner()
    taken = await owner.client.post(owner.url("/projects"), json={"name": "x", "key": "WEB"})
    request = {"json": {"name": "y", "key": "WEB"}, "headers": {"idempotency-key": "k"}}
    assert (await owner.client.post(owner.url("/projects"), **request)).json()["code"] == "project_key_taken"
    gone = owner.url(f"/projects/{taken.json()['id']}")
    assert (await owner.client.patch(gone, json={"key": "OLD"}, headers={"if-match": "*"})).status_code == 200
    assert (await owner.client.post(owner.url("/projects"), **request)).status_code == 201
    for then, status in (("conflict", 409), ("explode", 500)):
        assert (await make(owner, then, then=then)).status_code == status
    kept = await superuser.fetchval(
        "SELECT count(*) FROM app.idempotency WHERE user_id = $1", to_uuid("usr", owner.person.id)
    )
    assert kept == 1


async def test_who_lost_the_right_to_ask_is_told_so_and_not_what_was_answered(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    request = {"json": {"name": "x", "key": "WEB"}, "headers": {"idempotency-key": "k"}}
    assert (await member.client.post(member.url("/projects"), **request)).status_code == 201
    place = owner.url(f"/members/{member.membership_id}")
    demoted = await owner.client.patch(place, json={"role": "viewer"}, headers={"if-match": "*"})
    assert demoted.status_code == 200
    assert (await member.client.post(member.url("/projects"), **request)).status_code == 403
    assert (await owner.client.delete(place, headers={"if-match": "*"})).status_code == 204
    assert (await member.client.post(member.url("/projects"), **request)).status_code == 404


async def test_stored_answers_cannot_be_read_by_who_reads_the_table(shop: World, superuser: asyncpg.Connection) -> None:
    owner = await shop.owner()
    assert (await make(owner, "key-of-owner-4711", name="Acquisition of Acme")).json()["secret"] == SECRET
    rows = await superuser.fetch(
        "SELECT i::text AS written, i.* FROM app.idempotency AS i WHERE user_id = $1", to_uuid("usr", owner.person.id)
    )
    (row,) = rows
    assert set(row.keys()) == {"written", "user_id", "key_hash", "fingerprint", "answer", "created_at"}
    raw = row["answer"] + row["key_hash"] + row["fingerprint"]
    for known in (SECRET, "Acquisition", "key-of-owner-4711", owner.person.token, owner.organization_id, "application"):
        assert known.encode() not in raw
        assert known.encode().hex() not in row["written"]


async def test_an_altered_stored_answer_is_not_believed(shop: World, superuser: asyncpg.Connection) -> None:
    owner = await shop.owner()
    await make(owner, "k")
    person = to_uuid("usr", owner.person.id)
    await superuser.execute(
        "UPDATE app.idempotency SET answer = set_byte(answer, 40, get_byte(answer, 40) # 1) WHERE user_id = $1", person
    )
    assert (await make(owner, "k")).status_code == 422
    assert await pieces(superuser, owner) == ["Website"]


async def test_after_a_day_a_key_is_forgotten(shop: World, superuser: asyncpg.Connection) -> None:
    owner = await shop.owner()
    (purge,) = [chore.statement for chore in CHORES if chore.name == "purge_idempotency"]
    await make(owner, "k")
    await superuser.execute(purge)
    assert REPLAYED in (await make(owner, "k")).headers
    await superuser.execute(
        "UPDATE app.idempotency SET created_at = now() - interval '25 hours' WHERE user_id = $1",
        to_uuid("usr", owner.person.id),
    )
    await superuser.execute(purge)
    assert REPLAYED not in (await make(owner, "k")).headers
    assert len(await pieces(superuser, owner)) == 2


@pytest.mark.parametrize("key", ["", "a" * 256, "a\tb", "é", "\x7f", "\x00"])
async def test_a_key_is_printable_and_short(world: World, key: str) -> None:
    owner = await world.owner()
    answer = await owner.client.post(
        owner.url("/projects"), json={"name": "x", "key": "XX"}, headers={"idempotency-key": key.encode()}
    )
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "header/Idempotency-Key")


async def test_routes_without_a_session_keep_no_answers(world: World, superuser: asyncpg.Connection) -> None:
    """Their answers hold sessions, and who asks has nothing to keep an answer under."""
    before = await superuser.fetchval("SELECT count(*) FROM app.idempotency")
    for _ in range(2):
        answer = await world.client().post(
            "/v1/auth/reset-mail",
            json={"email": f"{new_id('x')[-9:]}@example.com"},
            headers={"idempotency-key": "k"},
        )
        assert answer.status_code == 202
        assert REPLAYED not in answer.headers
    assert await superuser.fetchval("SELECT count(*) FROM app.idempotency") == before


async def test_who_gave_their_right_away_is_answered_as_before_and_does_nothing_again(world: World) -> None:
    owner = await world.owner()
    heir = await world.member(owner.organization_id, "admin")
    path, body = owner.url("/ownership-transfer"), {"member_id": heir.membership_id}
    first = await owner.client.post(path, json=body, headers={"idempotency-key": "once"})
    assert first.status_code == 200, first.text
    again = await owner.client.post(path, json=body, headers={"idempotency-key": "once"})
    assert (again.status_code, again.content, again.headers[REPLAYED]) == (200, first.content, "true")
    denied = {"type": "access.denied"}
    assert (await heir.client.get(owner.url("/events"), params=denied)).json()["data"] == []
    other = {"member_id": owner.membership_id}
    for sent, key in ((other, "once"), ({}, "once"), (body, "another")):
        refused = await owner.client.post(path, json=sent, headers={"idempotency-key": key})
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_missing")
        told = (await heir.client.get(owner.url("/events"), params=denied)).json()["data"]
        assert [event["data"]["operation"] for event in told] == ["transfer_ownership"], "told once"
    assert (await owner.client.post(path, json=body)).status_code == 403


async def test_who_ended_their_own_session_or_membership_is_out_also_with_the_key(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    keyed = {"idempotency-key": "5f2c1d0e"}
    answers = [await member.client.post(member.url("/departure"), headers=keyed) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 404]
    listed = (await member.client.get("/v1/me/sessions")).json()["data"]
    path = f"/v1/me/sessions/{listed[0]['id']}/revocation"
    answers = [await member.client.post(path, headers=keyed) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 401]
