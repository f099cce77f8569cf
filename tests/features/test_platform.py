"""Operators over HTTP."""

import asyncio
import uuid
from typing import Any

import asyncpg
import jsonschema
import pytest
from click.testing import CliRunner

from insula.__main__ import main
from insula.core.ids import new_id, to_text, to_uuid
from insula.operators import NobodyThere, NoOperator, add_operator, list_operators, remove_operator
from insula.settings import Settings
from tests.factories import Person, World


async def operator(world: World) -> Person:
    person = await world.person()
    await world.superuser.execute("INSERT INTO app.operator (user_id) VALUES ($1)", to_uuid("usr", person.id))
    return person


async def dead_letter(superuser: asyncpg.Connection) -> str:
    job = uuid.uuid4()
    await superuser.execute(
        "INSERT INTO app.outbox (id, task, payload, status, failures, last_error)"
        " VALUES ($1, 'test.dead', '{\"thing\": \"x\"}', 'dead', 10, 'it broke')",
        job,
    )
    return to_text("job", job)


async def test_operators_are_made_and_unmade_from_the_command_line(world: World, settings: Settings) -> None:
    person, owner_url = await world.person(), settings.owner_database_url or ""
    client = world.client(person.token)
    assert await add_operator(owner_url, person.email.upper())
    assert not await add_operator(owner_url, person.email)
    assert (person.email, person.name) in await list_operators(owner_url)
    assert (await client.get("/v1/platform/jobs")).status_code == 200
    await remove_operator(owner_url, person.email)
    with pytest.raises(NoOperator):
        await remove_operator(owner_url, person.email)
    assert (await client.get("/v1/platform/jobs")).status_code == 404


async def test_who_became_an_operator_by_the_command_is_recorded_as_its_target(
    world: World, settings: Settings
) -> None:
    person, owner_url = await world.person(), settings.owner_database_url or ""
    await add_operator(owner_url, person.email)
    client = world.client(person.token)
    job = await dead_letter(world.superuser)
    assert (await client.post(f"/v1/platform/jobs/{job}/disposal")).status_code == 204
    await remove_operator(owner_url, person.email)
    client = world.client((await operator(world)).token)
    page = (await client.get("/v1/platform/actions", params={"limit": 100})).json()
    document = (await client.get("/openapi.json")).json()
    declared = {"$ref": "#/components/schemas/OperatorActionRead", "components": document["components"]}
    theirs = [each for each in page["data"] if person.id in {each["user_id"], each["target"]}]
    for action in theirs:
        jsonschema.Draft202012Validator(declared).validate(action)
    assert [(each["action"], each["user_id"], each["target"]) for each in theirs] == [
        ("operator.removed", None, person.id),
        ("job.discarded", person.id, job),
        ("operator.added", None, person.id),
    ]
    assert theirs[0]["context"] == {"by": "insula operator"}


async def test_whoever_unmakes_the_wrong_one_is_told_by_the_end_of_the_command_too(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped address would leave the right ones what they were, and nobody would notice."""
    monkeypatch.setenv("INSULA_OWNER_DATABASE_URL", settings.owner_database_url or "")
    person = await operator(world)
    command = ["operator", "remove", person.email]
    done = await asyncio.to_thread(CliRunner().invoke, main, command)
    assert (done.exit_code, done.stdout) == (0, f"{person.email} is no longer an operator.\n")
    done = await asyncio.to_thread(CliRunner().invoke, main, command)
    assert (done.exit_code, done.stderr) == (1, f"Error: {person.email} is no operator: nothing was changed.\n")


async def test_a_disabled_operator_is_unmade(world: World, settings: Settings) -> None:
    """Whoever enables the account again would have enabled an operator."""
    person = await operator(world)
    await world.superuser.execute('UPDATE app."user" SET disabled_at = now() WHERE id = $1', to_uuid("usr", person.id))
    await remove_operator(settings.owner_database_url or "", person.email)
    assert (person.email, person.name) not in await list_operators(settings.owner_database_url or "")


async def test_only_who_has_an_account_becomes_an_operator(world: World, settings: Settings) -> None:
    unverified = await world.person()
    await world.superuser.execute(
        'UPDATE app."user" SET email_verified_at = NULL WHERE id = $1', to_uuid("usr", unverified.id)
    )
    for email in ("nobody.at.all@example.com", unverified.email):
        with pytest.raises(NobodyThere, match="nobody with the address"):
            await add_operator(settings.owner_database_url or "", email)


async def test_an_operator_finds_retries_and_discards_dead_letters(world: World) -> None:
    client = world.client((await operator(world)).token)
    retried, discarded = await dead_letter(world.superuser), await dead_letter(world.superuser)
    query: dict[str, Any] = {"status": "dead", "task": "test.dead", "limit": 100}
    found: set[str] = set()
    while query.get("cursor", "") is not None:
        page = (await client.get("/v1/platform/jobs", params=query)).json()
        found |= {job["id"] for job in page["data"]}
        query["cursor"] = page["next_cursor"]
    assert {retried, discarded} <= found
    assert (await client.post(f"/v1/platform/jobs/{retried}/redelivery")).status_code == 204
    assert (await client.post(f"/v1/platform/jobs/{discarded}/disposal")).status_code == 204
    job = (await client.get(f"/v1/platform/jobs/{retried}")).json()
    assert (job["status"], job["failures"], job["payload"]) == ("due", 0, {"thing": "x"})
    for verb in ("redelivery", "disposal"):
        again = await client.post(f"/v1/platform/jobs/{discarded}/{verb}")
        assert (again.status_code, again.json()["code"]) == (409, "not_dead")
    actions = (await client.get("/v1/platform/actions")).json()["data"]
    assert {(action["action"], action["target"]) for action in actions} >= {
        ("job.retried", retried),
        ("job.discarded", discarded),
    }
    assert actions[0]["context"]["request_id"]


async def test_an_operator_who_mistypes_an_organization_is_told_so(world: World) -> None:
    client = world.client((await operator(world)).token)
    answer = await client.get("/v1/platform/jobs", params={"organization_id": "acme"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "query/organization_id")
    answer = await client.get("/v1/platform/jobs", params={"organization_id": new_id("org")})
    assert (answer.status_code, answer.json()["data"]) == (200, [])


async def test_an_operators_decision_is_repeated_by_its_key_and_done_once(world: World) -> None:
    person, other = await operator(world), await operator(world)
    client, once = world.client(person.token), {"idempotency-key": "once"}
    retried, path = await dead_letter(world.superuser), "/v1/platform/jobs/{}/redelivery"
    first = await client.post(path.format(retried), headers=once)
    assert (first.status_code, "idempotent-replayed" in first.headers) == (204, False)
    again = await client.post(path.format(retried), headers=once)
    assert (again.status_code, again.headers["idempotent-replayed"], again.content) == (204, "true", b"")
    reused = await client.post(path.format(await dead_letter(world.superuser)), headers=once)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    theirs = await world.client(other.token).post(path.format(retried), headers=once)
    assert (theirs.status_code, theirs.json()["code"]) == (409, "not_dead"), "another operator's key is another key"
    refused = await client.post(path.format(retried), headers={"idempotency-key": "a,b"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "header/Idempotency-Key")
    actions = (await client.get("/v1/platform/actions")).json()["data"]
    assert [action["action"] for action in actions if action["target"] == retried] == ["job.retried"]
    await world.superuser.execute("DELETE FROM app.operator WHERE user_id = $1", to_uuid("usr", person.id))
    assert (await client.post(path.format(retried), headers=once)).status_code == 404, "no operator any more"


async def test_while_an_operators_request_runs_its_repetition_is_told_so(world: World) -> None:
    person = await operator(world)
    client, job = world.client(person.token), await dead_letter(world.superuser)

    async def post() -> int:
        answer = await client.post(f"/v1/platform/jobs/{job}/disposal", headers={"idempotency-key": "once"})
        return answer.status_code

    async with world.superuser.transaction():  # what the first one waits for
        await world.superuser.execute("SELECT FROM app.outbox WHERE id = $1 FOR UPDATE", to_uuid("job", job))
        both = {asyncio.create_task(post()), asyncio.create_task(post())}
        refused, waiting = await asyncio.wait(both, timeout=3, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in refused] == [409]
    assert [await task for task in waiting] == [204]


async def test_only_an_operators_session_keeps_answers_at_their_door(world: World) -> None:
    stranger, somebody = await world.person(), await operator(world)
    keep = "SELECT app.keep_operators_answer($1, 'name', 'fingerprint', 'answer')"
    connection = await asyncpg.connect(world.settings.platform_database_url)
    try:
        for secret in (world.digest(stranger.token), b"unknown"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only operators"):
                await connection.execute(keep, secret)
        entered = await connection.fetchrow(
            "SELECT verdict, locked, answer FROM app.enter_platform_once($1, 'name')", world.digest(stranger.token)
        )
        assert entered is not None
        assert tuple(entered) == ("stranger", None, None)
        async with connection.transaction():
            await connection.execute(keep, world.digest(somebody.token))
            assert await connection.fetchval("SELECT app.user_id()") is None, "it leaves no context"
    finally:
        await connection.close()


async def test_an_operator_looks_into_one_queue(world: World) -> None:
    client, queue = world.client((await operator(world)).token), f"q{uuid.uuid4().hex[:20]}"
    job = uuid.uuid4()
    await world.superuser.execute(
        "INSERT INTO app.outbox (id, queue, task, payload) VALUES ($1, $2, 'test.parcel', '{}')", job, queue
    )
    page = (await client.get("/v1/platform/jobs", params={"queue": queue})).json()["data"]
    assert [(found["id"], found["queue"]) for found in page] == [(to_text("job", job), queue)]
    assert (await client.get(f"/v1/platform/jobs/{page[0]['id']}")).json()["queue"] == queue
    await world.superuser.execute("DELETE FROM app.outbox WHERE id = $1", job)


async def test_to_everybody_else_the_plane_does_not_exist(world: World) -> None:
    owner = await world.owner()
    job = await dead_letter(world.superuser)
    for method, path in [
        ("GET", "/jobs"),
        ("GET", f"/jobs/{job}"),
        ("POST", f"/jobs/{job}/redelivery"),
        ("GET", "/actions"),
    ]:
        answer = await owner.client.request(method, f"/v1/platform{path}")
        assert answer.status_code == 404
        assert (await world.client().request(method, f"/v1/platform{path}")).status_code == 401


async def test_the_operators_door_leaves_no_context_and_notices_that_the_session_is_used(world: World) -> None:
    person = await operator(world)
    of_theirs = "WHERE user_id = $1"
    await world.superuser.execute(
        f"UPDATE app.credential SET last_used_at = now() - interval '5 minutes' {of_theirs}", to_uuid("usr", person.id)
    )
    connection = await asyncpg.connect(world.settings.platform_database_url)
    try:
        async with connection.transaction():
            verdict = await connection.fetchval(
                "SELECT verdict FROM app.enter_platform($1)", world.digest(person.token)
            )
            assert (verdict, await connection.fetchval("SELECT app.user_id()")) == ("admitted", None)
    finally:
        await connection.close()
    used = f"SELECT now() - last_used_at < interval '1 minute' FROM app.credential {of_theirs}"
    assert await world.superuser.fetchval(used, to_uuid("usr", person.id))


async def test_an_operator_whose_session_is_over_or_who_is_disabled_does_not_enter(world: World) -> None:
    for over in (
        "UPDATE app.credential SET expires_at = now() WHERE user_id = $1",
        "UPDATE app.credential SET revoked_at = now() WHERE user_id = $1",
        'UPDATE app."user" SET disabled_at = now() WHERE id = $1',
    ):
        person = await operator(world)
        client = world.client(person.token)
        assert (await client.get("/v1/platform/jobs")).status_code == 200
        await world.superuser.execute(over, to_uuid("usr", person.id))
        assert (await client.get("/v1/platform/jobs")).status_code == 401
