"""Attacks by SQL of one tenant on what the program does for all of them by itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from litestar import Litestar

from insula.core.ids import new_id, to_uuid
from insula.core.tracing import trace_id_of
from insula.core.upkeep import CHORES, Chore
from insula.features.invitations import jobs as invitations
from insula.features.organizations import jobs as organizations
from insula.settings import Settings
from tests.factories import Member, World
from tests.features.test_organization_end import delete_and_let_the_window_pass, purge

HOLD_MEMBERS = "SELECT FROM app.membership WHERE tenant_id = $1 FOR UPDATE"
HOLD_PROJECTS = "SELECT FROM app.project WHERE tenant_id = $1 FOR UPDATE"
LARGEST = (1 << 63) - 1


async def purge_deleted(settings: Settings, batch: int = 1000) -> None:
    connection = await asyncpg.connect(settings.platform_database_url)
    try:
        await connection.execute("SELECT app.purge_deleted(interval '30 days', $1)", batch)
    finally:
        await connection.close()


@asynccontextmanager
async def held(world: World, statement: str, owner: Member) -> AsyncIterator[None]:
    """Locks that SQL inside the organization takes and does not let go before the block is left."""
    connection = await asyncpg.connect(world.settings.owner_database_url)
    try:
        await connection.execute("SET ROLE app_owner; BEGIN")
        await connection.execute(statement, to_uuid("org", owner.organization_id))
        yield
    finally:
        await connection.close()


async def old_team(world: World, owner: Member, version: int = 1) -> None:
    """A team that was deleted long ago, and a project of it."""
    team = (await owner.client.post(owner.url("/teams"), json={"name": "Old"})).json()["id"]
    body = {"name": "P", "key": "PP", "team_id": team}
    assert (await owner.client.post(owner.url("/projects"), json=body)).status_code == 201
    organization = to_uuid("org", owner.organization_id)
    await world.superuser.execute("UPDATE app.project SET version = $2 WHERE tenant_id = $1", organization, version)
    await world.superuser.execute(
        "UPDATE app.team SET deleted_at = now() - interval '31 days' WHERE tenant_id = $1", organization
    )


async def there(world: World, table: str, owner: Member) -> bool:
    query = {
        "team": "SELECT FROM app.team WHERE tenant_id = $1",
        "invitation": "SELECT FROM app.invitation WHERE tenant_id = $1",
        "organization": "SELECT FROM app.organization WHERE id = $1",
    }
    return bool(await world.superuser.fetch(query[table], to_uuid("org", owner.organization_id)))


@asynccontextmanager
async def slow(world: World, table: str, owner: Member) -> AsyncIterator[None]:
    """Nothing of the organization's is deleted from the table before everybody's patience ends."""
    tenant = to_uuid("org", owner.organization_id)
    await world.superuser.execute(
        "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF old.tenant_id = '{tenant}' THEN PERFORM pg_sleep(60); END IF; RETURN old; END $$;"
        f" CREATE TRIGGER dawdle BEFORE DELETE ON app.{table} FOR EACH ROW EXECUTE FUNCTION public.dawdle()"
    )
    try:
        yield
    finally:
        await world.superuser.execute("DROP FUNCTION public.dawdle() CASCADE")


async def hurried(settings: Settings, statement: str) -> int:
    """How many organizations' share stays, where a statement may take a second."""
    connection = await asyncpg.connect(settings.platform_database_url)
    try:
        await connection.execute("SET statement_timeout = '1s'")
        return int(await connection.fetchval(statement))
    finally:
        await connection.close()


async def old_invitation(world: World, owner: Member) -> None:
    await world.superuser.execute(
        "INSERT INTO app.invitation (tenant_id, id, email, email_norm, role, status, credential_id, sendings, expires_at,"
        " created_at, updated_at, version) SELECT $1, gen_random_uuid(), 'm@x.de', 'm@x.de', 'viewer', 'declined',"
        " gen_random_uuid(), 1, at, at, at, 1 FROM (SELECT now() - interval '100 days' AS at) AS old",
        to_uuid("org", owner.organization_id),
    )


async def old_organization(world: World, owner: Member) -> None:
    await delete_and_let_the_window_pass(owner, world.superuser)


SLOW: dict[str, tuple[str, Callable[[World, Member], Awaitable[None]], str]] = {
    "team": ("team", old_team, "SELECT stayed FROM app.purge_deleted(interval '30 days', 1000)"),
    "invitation": (
        "invitation",
        old_invitation,
        "SELECT stayed FROM app.purge_invitations(interval '30 days', 1000)",
    ),
    "organization": ("membership", old_organization, "SELECT stayed FROM app.purge_organizations(1000)"),
}
"""What is purged -> where one of them takes for ever, how there come to be some, and the purge."""


@pytest.mark.parametrize("what", SLOW)
async def test_whoever_is_slow_to_purge_keeps_nobody_else_for_good(world: World, settings: Settings, what: str) -> None:
    table, make, statement = SLOW[what]
    dawdler, other = await world.owner(), await world.owner()
    for owner in (dawdler, other):
        await make(world, owner)
    async with slow(world, table, dawdler):
        # Who comes first is chance: each run has an even one.
        told = [await hurried(settings, statement)]
        while await there(world, what, other) and len(told) < 20:
            told.append(await hurried(settings, statement))
        assert [await there(world, what, owner) for owner in (dawdler, other)] == [True, False]
        assert set(told) == {1}
    assert await hurried(settings, statement) == 0
    assert not await there(world, what, dawdler)


@pytest.mark.parametrize(
    "chore",
    [next(each for each in CHORES if each.name == "purge_deleted"), invitations.PURGE, organizations.PURGE],
    ids=lambda chore: chore.name,
)
async def test_the_chore_tells_of_how_many_some_stays(settings: Settings, chore: Chore) -> None:
    connection = await asyncpg.connect(settings.platform_database_url)
    try:
        assert (await connection.fetchrow(chore.statement, *chore.binds))["stayed"] == 0
    finally:
        await connection.close()


@pytest.mark.attack(129)
async def test_whoever_holds_their_rows_keeps_nobody_elses_from_being_purged(world: World, settings: Settings) -> None:
    holder, other = await world.owner(), await world.owner()
    for owner in (holder, other):
        await old_team(world, owner)
    async with held(world, HOLD_PROJECTS, holder):
        await purge_deleted(settings)
        assert [await there(world, "team", owner) for owner in (holder, other)] == [True, False]
    await purge_deleted(settings)
    assert not await there(world, "team", holder)


@pytest.mark.parametrize("hold", [HOLD_PROJECTS, "SELECT $1::uuid"], ids=["held", "free"])
async def test_nor_does_who_has_more_than_a_batch_of_them(world: World, settings: Settings, hold: str) -> None:
    hoarder, other = await world.owner(), await world.owner()
    for owner in (hoarder, other):
        await old_team(world, owner)
    await world.superuser.execute(
        "INSERT INTO app.team (tenant_id, id, name, name_norm, description, created_at, updated_at, version, deleted_at)"
        " SELECT $1, gen_random_uuid(), 'T', 't', '', now(), now(), 1, now() - interval '40 days'"
        " FROM generate_series(1, 20)",
        to_uuid("org", hoarder.organization_id),
    )
    # Those that are in their way are the oldest.
    await world.superuser.execute(
        "UPDATE app.team SET deleted_at = now() - interval '50 days' WHERE tenant_id = $1 AND name = 'Old'",
        to_uuid("org", hoarder.organization_id),
    )
    async with held(world, hold, hoarder):
        await purge_deleted(settings, batch=10)
        assert [await there(world, "team", owner) for owner in (hoarder, other)] == [True, False]


async def test_nor_more_invitations_than_a_batch_takes(world: World, settings: Settings) -> None:
    hoarder, other = await world.owner(), await world.owner()
    for owner in [hoarder] * 20 + [other]:
        await old_invitation(world, owner)
    assert await hurried(settings, "SELECT stayed FROM app.purge_invitations(interval '30 days', 10)") == 0
    assert [await there(world, "invitation", owner) for owner in (hoarder, other)] == [True, False]


async def test_nor_whole_organizations(world: World, settings: Settings) -> None:
    holder, other = await world.owner(), await world.owner()
    for owner in (holder, other):
        await delete_and_let_the_window_pass(owner, world.superuser)
    async with held(world, HOLD_MEMBERS, holder):
        await purge(settings)
        assert [await there(world, "organization", owner) for owner in (holder, other)] == [True, False]
    await purge(settings)
    assert not await there(world, "organization", holder)


async def test_no_version_is_so_large_that_what_it_refers_to_cannot_go(world: World, settings: Settings) -> None:
    owner = await world.owner()
    await old_team(world, owner, LARGEST)
    await purge_deleted(settings)
    assert not await there(world, "team", owner)
    (project,) = (await owner.client.get(owner.url("/projects"))).json()["data"]
    assert (project["team_id"], project["version"]) == (None, 1)


async def test_an_invitation_that_names_a_strangers_session_does_not_lock_it(world: World, litestar: Litestar) -> None:
    ours, theirs = await world.owner(), await world.owner()
    session = await world.superuser.fetchval(
        "SELECT id FROM app.credential WHERE user_id = $1", to_uuid("usr", theirs.person.id)
    )
    entry = (world.digest(ours.person.token), to_uuid("org", ours.organization_id))
    async with litestar.state.databases.rw.transaction() as db:
        await db.driver.fetchrow("SELECT * FROM app.enter($1, $2)", *entry)
        planted = await db.driver.fetchval(
            "INSERT INTO app.invitation (id, email, email_norm, role, status, credential_id, sendings, expires_at,"
            " created_at, updated_at, version) VALUES ($1, 'm@x.de', 'm@x.de', 'viewer', 'pending', $2, 1,"
            " now() + interval '1 day', now(), now(), 1) RETURNING id",
            to_uuid("inv", new_id("inv")),
            session,
        )
        await db.driver.execute("SELECT app.arm_invitations($1, $2)", [planted], [bytes(32)])
        locked = "SELECT FROM app.credential WHERE id = $1 FOR UPDATE NOWAIT"
        assert len(await world.superuser.fetch(locked, session)) == 1


async def test_who_holds_an_old_credential_keeps_no_other_from_being_deleted(world: World, settings: Settings) -> None:
    owner = await world.owner()
    await world.superuser.execute(
        "INSERT INTO app.credential (id, kind, hash, tenant_id, expires_at)"
        " SELECT gen_random_uuid(), 'invitation', sha256(gen_random_uuid()::text::bytea), $1, now() - interval '40 days'"
        " FROM generate_series(1, 3)",
        to_uuid("org", owner.organization_id),
    )
    chore = next(each for each in CHORES if each.name == "purge_credentials")
    old = "SELECT count(*) FROM app.credential WHERE tenant_id = $1"
    connection = await asyncpg.connect(settings.platform_database_url)
    try:
        await connection.execute("SET lock_timeout = '500ms'")
        async with held(world, "SELECT FROM app.credential WHERE tenant_id = $1 LIMIT 1 FOR UPDATE", owner):
            await connection.execute(chore.statement, *chore.binds)
            assert await world.superuser.fetchval(old, to_uuid("org", owner.organization_id)) == 1
        await connection.execute(chore.statement, *chore.binds)
    finally:
        await connection.close()
    assert await world.superuser.fetchval(old, to_uuid("org", owner.organization_id)) == 0


@pytest.mark.parametrize(
    ("carried", "trace"),
    [("a" * 32, "a" * 32), (f"{'a' * 32}-{'b' * 16}", "a" * 32), ("x" * 8000, None), ("a" * 33, None), ("", None)],
)
def test_what_a_job_carries_reaches_the_log_only_where_it_names_a_trace(carried: str, trace: str | None) -> None:
    assert trace_id_of(carried) == trace
