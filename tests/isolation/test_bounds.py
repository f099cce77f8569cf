"""What SQL that slipped in may store is never so large, nor so far away, that others cannot read their pages."""

import asyncpg
import pytest

from insula.core.catalogue.facts import read_catalogue
from insula.core.ids import to_uuid
from tests.isolation.arena import Arena
from tests.rows import insert, plausible

INVITE = (
    "INSERT INTO app.invitation (id, email, email_norm, role, status, invited_by, credential_id, sendings, expires_at,"
    " created_at, updated_at, version) VALUES (gen_random_uuid(), '{email}', '{email}', 'viewer', 'pending',"
    " (SELECT id FROM app.membership LIMIT 1), gen_random_uuid(), 1, {until}, now(), now(), 1)"
)
JOB = (
    "INSERT INTO app.outbox (id, lane, task, payload, due_at)"
    " VALUES (gen_random_uuid(), app.tenant_id(), {task}, {payload}, {due})"
)

ATTACKS = {
    "an invitation of the far future": INVITE.format(email="{victim}", until="'294000-01-01'"),
    "an invitation without an end": INVITE.format(email="{victim}", until="'infinity'"),
    "an invitation of long ago": INVITE.format(email="{victim}", until="'4000-01-01 BC'"),
    "an inviter with a name of megabytes": "UPDATE app.membership SET name = repeat('x', 10000000)",
    "a name of megabytes to search by": "UPDATE app.membership SET name_norm = repeat('x', 10000000)",
    "an address of megabytes": INVITE.format(email="' || repeat('x', 10000000) || '", until="now()"),
    "an organization restorable for ever": "UPDATE app.organization SET restorable_until = '294000-01-01'",
    "a job of the far future": JOB.format(task="'x'", payload="'{}'", due="'294000-01-01'"),
    "a job with a name of megabytes": JOB.format(task="repeat('x', 10000000)", payload="'{}'", due="now()"),
    "a job with megabytes to do": JOB.format(task="'x'", payload="to_jsonb(repeat('x', 10000000))", due="now()"),
    "an event of the far future": "INSERT INTO app.event (id, type, version, actor_type, target_type, data, context)"
    " VALUES ('fffffffe-0000-7000-8000-000000000000', 'x.done', 1, 'user', 'x', '{}', '{}')",
    "metadata of megabytes": "UPDATE app.organization SET metadata = jsonb_build_object('k', repeat('x', 10000000))",
}

COMPUTED = (
    "SELECT attrelid::regclass::text, attname FROM pg_attribute"
    " WHERE attgenerated <> '' AND attrelid::regclass::text LIKE 'app.%'"
)


@pytest.mark.attack(15)
@pytest.mark.parametrize("attack", ATTACKS)
async def test_nobody_elses_page_is_spoilt_by(arena: Arena, attack: str) -> None:
    victim = await arena.world.person()
    async with arena.inside(arena.a, read_only=False) as transaction:
        with pytest.raises(asyncpg.CheckViolationError):
            await transaction.driver.execute(ATTACKS[attack].replace("{victim}", victim.email))
    listed = await arena.world.client(victim.token).get("/v1/me/invitations")
    assert listed.status_code == 200, listed.text


async def test_every_moment_that_requests_may_write_has_bounds(arena: Arena, subtests: pytest.Subtests) -> None:
    """Tried on the table itself, whatever the catalogue says of it."""
    async with arena.superuser.transaction():
        catalogue = await read_catalogue(arena.superuser)
    computed = {tuple(row) for row in await arena.superuser.fetch(COMPUTED)}
    found = [
        column
        for column in catalogue.columns
        if column.type == "timestamp with time zone"
        and catalogue.writable(column.table, [column.name])
        and (column.table, column.name) not in computed
    ]
    assert len(found) > 10
    for column in found:
        with subtests.test(f"{column.table}.{column.name}"):
            owner = "user_id" if column.table in {"app.idempotency", "app.outbox"} else "tenant_id"
            owner = "id" if column.table == "app.user" else owner
            row = await plausible(arena.superuser, column.table, owner, to_uuid("org", arena.a.owner.organization_id))
            for moment in ("294000-01-01", "infinity", "4000-01-01 BC"):
                with pytest.raises(asyncpg.CheckViolationError):
                    async with arena.superuser.transaction():
                        await arena.superuser.execute("SET LOCAL session_replication_role = replica")
                        await insert(arena.superuser, column.table, row)
                        await arena.superuser.execute(f"UPDATE {column.table} SET {column.name} = '{moment}'")


async def test_the_largest_metadata_that_the_api_takes_fits_with_the_event_of_its_change(arena: Arena) -> None:
    owner = await arena.world.owner()
    for letter in "\U0001f3dd\U0001f30a":
        metadata = {f"{number:02}": letter * 80 for number in range(49)}
        changed = await owner.client.patch(owner.url(""), json={"metadata": metadata}, headers={"if-match": "*"})
        assert changed.status_code == 200, changed.text
