"""A replica lets nobody in but by a grant of the primary's, and row security holds there."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from litestar import Litestar

from insula.core.ids import to_uuid
from tests.factories import Member, World
from tests.isolation.hostile.contexts import FORGED_CONTEXTS
from tests.isolation.replicas.reading import plant
from tests.isolation.standby import Pair


@pytest.fixture
async def granted(pair: Pair, world: World, app: Litestar) -> AsyncIterator[tuple[Member, bytes, asyncpg.Connection]]:
    """A grant, and a connection as app_rw to the standby."""
    owner = await world.owner()
    primary = await asyncpg.connect(pair.url("app_rw"))
    found = await primary.fetchrow(
        'SELECT verdict, "grant" FROM app.enter_for_replica($1, $2)',
        world.digest(owner.person.token),
        to_uuid("org", owner.organization_id),
    )
    await primary.close()
    assert found["verdict"] == "admitted"
    await pair.caught_up()
    standby = await asyncpg.connect(pair.url("app_rw", standby=True))
    yield owner, found["grant"], standby
    await standby.close()


ENTER = "SELECT app.enter_by_grant($1, '0/1')"


@pytest.mark.attack(15)
async def test_only_a_grant_as_it_was_given_lets_in_and_only_for_five_seconds(
    granted: tuple[Member, bytes, asyncpg.Connection], pair: Pair
) -> None:
    _, grant, standby = granted
    assert await standby.fetchval(ENTER, grant) == "admitted"
    for forged in (
        bytes(72),
        b"",
        None,
        grant[:-1],
        grant + b"\0",
        *(grant[:place] + bytes([grant[place] ^ 1]) + grant[place + 1 :] for place in range(72)),
    ):
        assert await standby.fetchval(ENTER, forged) == "refused"
    assert await standby.fetchval("SELECT app.enter_by_grant($1, 'FFFFFFFF/0')", grant) == "behind"
    assert await standby.fetchval("SELECT app.enter_by_grant($1, NULL)", grant) == "behind"
    primary = await asyncpg.connect(pair.url("app_rw"))
    assert await primary.fetchval(ENTER, grant) == "primary"
    await primary.close()
    await asyncio.sleep(5.2)
    assert await standby.fetchval(ENTER, grant) == "refused"


@pytest.mark.attack(15)
async def test_a_replica_lets_nobody_in_by_a_credential(
    granted: tuple[Member, bytes, asyncpg.Connection], world: World
) -> None:
    owner, _, standby = granted
    for organization in (to_uuid("org", owner.organization_id), None):
        for door in ("enter", "enter_for_replica"):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="lets nobody in"):
                await standby.fetchrow(
                    f"SELECT * FROM app.{door}($1, $2)", world.digest(owner.person.token), organization
                )


@pytest.mark.attack(15)
async def test_row_security_holds_on_the_replica(
    granted: tuple[Member, bytes, asyncpg.Connection], world: World, pair: Pair, superuser: asyncpg.Connection
) -> None:
    owner, grant, standby = granted
    other = await world.owner()
    mine, theirs = await plant(superuser, owner), await plant(superuser, other)
    await pair.caught_up()
    ids = {"b": str(to_uuid("org", other.organization_id)), "b_user": str(to_uuid("usr", other.person.id))}
    for statements in ([], *FORGED_CONTEXTS.values()):
        transaction = standby.transaction()
        await transaction.start()
        try:
            await standby.fetchval(ENTER, grant)
            for statement in statements:
                await standby.execute(statement.replace("{b}", ids["b"]).replace("{b_user}", ids["b_user"]))
            found = {row["name"] for row in await standby.fetch("SELECT name FROM app.project")}
        except asyncpg.PostgresError:
            found = set()
        finally:
            await transaction.rollback()
        assert theirs not in found
        assert found <= {mine}
    assert await standby.fetch("SELECT name FROM app.project") == [], "outside of a transaction that was let in"
