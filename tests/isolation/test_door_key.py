"""The key that signs contexts is replaced while the program runs."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from insula.rotation import RotationError, require_one_door_key, rotate_door_key
from insula.settings import Settings
from tests.factories import Member, World
from tests.isolation.arena import Arena


async def key_of(arena: Arena) -> tuple[bytes, bytes | None]:
    row = await arena.superuser.fetchrow("SELECT opad, previous_opad FROM app.door_key")
    return row[0], row[1]


def owner_of(arena: Arena) -> str:
    return str(arena.world.settings.owner_database_url)


async def ask_until_told(member: Member, stop: asyncio.Event, answers: list[int]) -> None:
    while not stop.is_set():
        page = await member.client.get(member.url("/projects"))
        made = await member.client.post(member.url("/projects"), json={"name": "A project", "key": f"K{len(answers)}"})
        answers += [page.status_code, made.status_code]


async def test_no_request_fails_while_the_key_is_replaced(world: World, settings: Settings) -> None:
    owner = await world.owner()
    stop = asyncio.Event()
    answers: list[int] = []
    asking = [asyncio.create_task(ask_until_told(owner, stop, answers)) for _ in range(4)]
    for _ in range(5):
        await rotate_door_key(str(settings.owner_database_url))
    stop.set()
    await asyncio.gather(*asking)
    assert len(answers) > 20
    assert set(answers) <= {200, 201, 409}  # 409: two clients chose the same key


async def test_a_transaction_of_before_keeps_its_tenant_and_the_old_key_waits_for_it(arena: Arena) -> None:
    old, _ = await key_of(arena)
    async with arena.inside(arena.a, read_only=True) as transaction:
        rotation = asyncio.create_task(rotate_door_key(owner_of(arena)))
        async with asyncio.timeout(10):
            while (await key_of(arena))[1] is None:
                await asyncio.sleep(0.01)
        new, previous = await key_of(arena)
        assert (previous == old, new == old) == (True, False)
        rows = await transaction.driver.fetch("SELECT tenant_id FROM app.project")
        assert {str(row[0]) for row in rows} == {arena.a.id}
        assert not rotation.done()
    await rotation
    assert await key_of(arena) == (new, None)


async def test_what_the_old_key_signed_is_a_forgery_once_it_is_forgotten(arena: Arena) -> None:
    async with arena.inside(arena.a, read_only=True) as transaction:
        with pytest.raises(RotationError, match="go on"):
            await rotate_door_key(owner_of(arena), patience=0.3)
        await arena.superuser.execute("SELECT app.forget_previous_door_key()")  # too early
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="forged context"):
            await transaction.driver.fetch("SELECT tenant_id FROM app.project")


async def test_an_interrupted_rotation_is_ended_by_the_next(arena: Arena) -> None:
    async with arena.inside(arena.a, read_only=True):
        with suppress(RotationError):
            await rotate_door_key(owner_of(arena), patience=0.3)
    interrupted, previous = await key_of(arena)
    assert previous is not None
    await rotate_door_key(owner_of(arena))
    last, previous = await key_of(arena)
    assert (last == interrupted, previous) == (False, None)


async def test_transactions_of_other_databases_of_the_server_are_not_waited_for(
    arena: Arena, addresses: dict[str, str]
) -> None:
    elsewhere = await asyncpg.connect(addresses["admin"], database="postgres")
    try:
        async with elsewhere.transaction():
            await elsewhere.fetchval("SELECT 1")
            await rotate_door_key(owner_of(arena), patience=5)
    finally:
        await elsewhere.close()


async def test_doctor_tells_that_a_rotation_was_interrupted(arena: Arena) -> None:
    await require_one_door_key(owner_of(arena))
    async with arena.inside(arena.a, read_only=True):
        with suppress(RotationError):
            await rotate_door_key(owner_of(arena), patience=0.3)
    with pytest.raises(RotationError, match="interrupted"):
        await require_one_door_key(owner_of(arena))
    await rotate_door_key(owner_of(arena))
    await require_one_door_key(owner_of(arena))


@pytest.mark.parametrize("function", ["rotate_door_key", "forget_previous_door_key", "new_door_key"])
async def test_no_serving_login_may_touch_the_key(arena: Arena, function: str) -> None:
    async with arena.inside(arena.a, read_only=True) as transaction:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await transaction.driver.execute(f"SELECT app.{function}()")
