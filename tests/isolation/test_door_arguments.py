"""Doors that take ids, keys and texts from whoever calls them: what others have does not depend on what these are."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from insula.core.ids import NIL, new_uuid, to_uuid
from insula.core.relay import PROGRAM
from tests.isolation.arena import Arena

_FOUND = """
SELECT app.create_organization($1, $2, $3, $4, 'An organization', ARRAY['slug-' || left(gen_random_uuid()::text, 8)], '{}', 'x', 100, '{}')
"""
_JOIN = "SELECT * FROM app.accept_invitation(NULL, $1, 'a person', 100, $2, NULL, '{}')"
_KEPT_OUT = "SELECT count(app.record_kept_out($1, $2, $3 || n, 'operation', '{}')) FROM generate_series(1, 500) AS n"


async def test_nobody_joins_as_what_a_malformed_id_becomes(arena: Arena) -> None:
    owner, guest = arena.b.owner, await arena.world.person()
    invited = await owner.client.post(owner.url("/invitations"), json={"email": guest.email, "role": "viewer"})
    assert invited.status_code == 201, invited.text
    async with arena.database.transaction() as transaction:
        await transaction.driver.fetchval("SELECT app.enter($1, NULL)", arena.world.digest(guest.token))
        with pytest.raises(asyncpg.CheckViolationError):
            await transaction.driver.fetchrow(_JOIN, to_uuid("inv", invited.json()["id"]), NIL)
    assert (await owner.client.get(owner.url("/members/mem_nonsense"))).status_code == 404


@pytest.mark.parametrize("id_", [NIL, PROGRAM], ids=["of malformed ids", "of the shared lane"])
async def test_nobody_founds_an_organization_with_an_id_that_means_something_else(arena: Arena, id_: UUID) -> None:
    async with arena.database.transaction() as transaction:
        events = [new_uuid(), new_uuid()]
        with pytest.raises(asyncpg.CheckViolationError):
            await transaction.driver.fetchval(_FOUND, arena.a.session_hash, id_, uuid4(), events)


async def test_who_is_suspended_does_not_fill_the_record_of_who_suspended_them(arena: Arena) -> None:
    organization = arena.b.owner.organization_id
    member = await arena.world.member(organization, "viewer")
    suspended = await arena.b.owner.client.post(arena.b.owner.url(f"/members/{member.membership_id}/suspension"))
    assert suspended.status_code == 200, suspended.text
    shown = arena.world.digest(await arena.world.session(member.person.id))
    for permission in ("one", "another"):
        async with arena.database.transaction() as transaction:
            await transaction.driver.fetchval(_KEPT_OUT, shown, to_uuid("org", organization), permission)
            await transaction.driver.execute("COMMIT")
            transaction.settled = True
    query: dict[str, Any] = {"type": "access.denied", "actor_id": member.person.id, "limit": 100}
    written = await arena.b.owner.client.get(arena.b.owner.url("/events"), params=query)
    assert len(written.json()["data"]) == 30


async def test_the_lock_of_a_neighbours_key_is_nobody_elses(arena: Arena) -> None:
    """Its number stands among the locks for everybody to read."""
    a, b = (to_uuid("org", tenant.owner.organization_id) for tenant in (arena.a, arena.b))
    enter = "SELECT verdict, locked FROM app.enter_once($1, $2, $3)"
    neighbour, attacker = [await asyncpg.connect(arena.world.settings.database_url) for _ in range(2)]
    try:
        async with neighbour.transaction(), attacker.transaction():
            name = uuid4().bytes * 2
            assert tuple(await neighbour.fetchrow(enter, arena.b.session_hash, b, name)) == ("admitted", True)
            (seen,) = await attacker.fetch(
                "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND pid = $1",
                neighbour.get_server_pid(),
            )
            same = seen["classid"].to_bytes(4, "big") + seen["objid"].to_bytes(4, "big")
            for forged in (name, same, same + bytes(24)):
                assert tuple(await attacker.fetchrow(enter, arena.a.session_hash, a, forged)) == ("admitted", True)
            assert tuple(await neighbour.fetchrow(enter, arena.b.session_hash, b, name)) == ("admitted", True)
    finally:
        for connection in (neighbour, attacker):
            await connection.close()
