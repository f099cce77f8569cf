"""A person's own sessions over HTTP."""

import httpx

from insula.core.ids import new_id
from tests.factories import Person, World


async def session_ids(client: httpx.AsyncClient, **query: object) -> list[str]:
    answer = await client.get("/v1/me/sessions", params=query)
    assert answer.status_code == 200, answer.text
    return [session["id"] for session in answer.json()["data"]]


async def signed_in_thrice(world: World) -> tuple[Person, list[httpx.AsyncClient]]:
    person = await world.person()
    tokens = [person.token, await world.session(person.id), await world.session(person.id)]
    return person, [world.client(token) for token in tokens]


async def test_sessions_are_listed_page_by_page_newest_first_with_the_current_one_marked(world: World) -> None:
    _, (first, second, _) = await signed_in_thrice(world)
    page = (await second.get("/v1/me/sessions", params={"limit": 2})).json()
    assert [session["current"] for session in page["data"]] == [False, True]
    rest = (await second.get("/v1/me/sessions", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [session["current"] for session in rest["data"]] == [False]
    assert rest["next_cursor"] is None
    ids = [session["id"] for session in page["data"] + rest["data"]]
    assert ids == sorted(ids, reverse=True)
    assert await session_ids(first, sort="created_at") == ids[::-1]
    stolen = {"limit": 2, "cursor": page["next_cursor"]}
    assert (await world.client((await world.person()).token).get("/v1/me/sessions", params=stolen)).status_code == 400


async def test_a_session_can_be_ended_from_another_device(world: World) -> None:
    _, (first, second, third) = await signed_in_thrice(world)
    newest, _, oldest = await session_ids(second)
    assert (await second.post(f"/v1/me/sessions/{oldest}/revocation")).status_code == 204
    assert (await first.get("/v1/me")).status_code == 401
    assert (await second.post(f"/v1/me/sessions/{oldest}/revocation")).status_code == 404
    assert (await third.get("/v1/me")).status_code == 200
    assert (await third.post(f"/v1/me/sessions/{newest}/revocation")).status_code == 204
    assert (await third.get("/v1/me")).status_code == 401


async def test_all_other_sessions_end_at_once_and_the_current_one_on_request(world: World) -> None:
    _, (first, second, third) = await signed_in_thrice(world)
    assert (await second.post("/v1/me/sessions/revocation", json={})).json() == {"revoked": 2}
    assert [(await client.get("/v1/me")).status_code for client in (first, second, third)] == [401, 200, 401]
    everywhere = await second.post("/v1/me/sessions/revocation", json={"include_current": True})
    assert everywhere.json() == {"revoked": 1}
    assert (await second.get("/v1/me")).status_code == 401


async def test_nobody_sees_or_ends_the_sessions_of_others(world: World) -> None:
    _, (mine, *_) = await signed_in_thrice(world)
    other = world.client((await world.person()).token)
    ids = await session_ids(mine)
    foreign = await other.post(f"/v1/me/sessions/{ids[0]}/revocation")
    unknown = await other.post(f"/v1/me/sessions/{new_id('crd')}/revocation")
    malformed = await other.post("/v1/me/sessions/nonsense/revocation")
    assert foreign.status_code == unknown.status_code == malformed.status_code == 404
    assert len({answer.json()["code"] for answer in (foreign, unknown, malformed)}) == 1
    assert not set(ids) & set(await session_ids(other))
    assert (await other.post("/v1/me/sessions/revocation", json={})).json() == {"revoked": 0}
    assert await session_ids(mine) == ids


async def test_a_session_ends_at_its_absolute_end_however_much_it_is_used(world: World) -> None:
    person = await world.person()
    client = world.client(await world.session(person.id))
    assert (await client.get("/v1/me")).status_code == 200
    await world.superuser.execute(
        "UPDATE app.credential SET expires_at = now(), last_used_at = now() WHERE user_id ="
        ' (SELECT id FROM app."user" WHERE email = $1)',
        person.email,
    )
    assert (await client.get("/v1/me")).status_code == 401
    body = {"current_password": "x", "new_password": "fifteen characters and more"}
    assert (await client.put("/v1/me/password", json=body)).status_code == 401


async def test_a_session_unused_for_too_long_is_over_and_not_listed(world: World) -> None:
    person, (first, second, _) = await signed_in_thrice(world)
    oldest = (await session_ids(second, sort="created_at"))[0]
    await world.superuser.execute(
        "UPDATE app.credential SET idle_timeout = interval '1 hour', last_used_at = now() - interval '2 hours'"
        " WHERE id = (SELECT id FROM app.credential WHERE user_id ="
        ' (SELECT id FROM app."user" WHERE email = $1) ORDER BY id LIMIT 1)',
        person.email,
    )
    assert oldest not in await session_ids(second)
    assert (await first.get("/v1/me")).status_code == 401
    body = {"current_password": "x", "new_password": "fifteen characters and more"}
    assert (await first.put("/v1/me/password", json=body)).status_code == 401
