"""The table behind a person's own record: who may write what into it, in which order, and for how long."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from litestar import Litestar

from insula.core.events import record
from insula.core.ids import new_id, to_text, to_uuid
from insula.core.listing import first_id_of
from insula.core.permissions import Principal
from insula.features import identity
from insula.features.identity.schemas import EVENTS, SessionRevoked
from insula.features.projects.schemas import ProjectDeleted
from insula.settings import Settings
from tests.events import misfits
from tests.factories import Person, World
from tests.features.own_record import NEW, lines, token_in, told, with_password
from tests.features.signing_in import NEW_PASSWORD, PASSWORD, sign_in
from tests.features.test_identity_letters import Mailbox


async def test_inside_an_organization_sql_sees_and_writes_none_of_it(world: World, litestar: Litestar) -> None:
    owner = await world.owner()
    await owner.client.patch("/v1/me", json={"name": "Zoë"}, headers={"if-match": "*"})
    line = json.dumps([{"type": "x.done", "version": 1, "target_type": "user", "data": {}, "context": {}}])
    for organization, seen in ((None, 1), (to_uuid("org", owner.organization_id), 0)):
        async with litestar.state.databases.rw.transaction(read_only=True) as db:
            await db.driver.fetchrow("SELECT * FROM app.enter($1, $2)", world.digest(owner.person.token), organization)
            assert await db.driver.fetchval("SELECT count(*) FROM app.account_event") == seen
            if organization is not None:
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="outside of organizations"):
                    await db.driver.execute("SELECT app.record_mine($1::text::jsonb)", line)
    async with litestar.state.databases.rw.transaction(read_only=True) as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="outside of organizations"):
            await db.driver.execute("SELECT app.record_mine($1::text::jsonb)", line)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE app.account_event SET data = '{}'",
        "UPDATE app.account_event SET type = type",
        "DELETE FROM app.account_event",
        "TRUNCATE app.account_event",
        "SELECT FROM app.account_event FOR UPDATE",
        "SELECT recorded_at FROM app.account_event",
        (
            "INSERT INTO app.account_event (user_id, id, type, version, target_type, data, context)"
            " VALUES (app.user_id(), gen_random_uuid(), 'x.done', 1, 'user', '{}', '{}')"
        ),
    ],
)
async def test_a_persons_own_sql_neither_edits_nor_dates_a_line(
    world: World, litestar: Litestar, statement: str
) -> None:
    person = await world.person()
    async with litestar.state.databases.rw.transaction(read_only=True) as db:
        await db.driver.fetchrow("SELECT * FROM app.enter($1, NULL)", world.digest(person.token))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await db.driver.execute(statement)


async def test_lines_keep_their_order_when_the_clock_was_set_back(world: World) -> None:
    person = await world.person()
    client = world.client(person.token)
    ahead = await plant(world, person, datetime.now(UTC) + timedelta(hours=20))
    far = await plant(world, person, datetime.now(UTC) + timedelta(days=20))
    for name in "AB":
        await client.patch("/v1/me", json={"name": name}, headers={"if-match": "*"})
    events = await told(client)
    assert [event["id"] for event in events] == [far, events[1]["id"], events[2]["id"], ahead]
    assert [event["data"]["after"]["name"] for event in events[1:3]] == ["B", "A"]


async def plant(world: World, person: Person, instant: datetime) -> str:
    """A line with the id of another moment."""
    line = first_id_of(instant)
    await world.superuser.execute(
        "INSERT INTO app.account_event (user_id, id, type, version, target_type, data, context)"
        " VALUES ($1, $2, 'planted', 1, 'user', '{}', '{}')",
        to_uuid("usr", person.id),
        line,
    )
    return to_text("evt", line)


async def test_every_stored_line_has_a_type_of_the_catalogue_and_data_of_its_schema(
    world: World, mailbox: Mailbox
) -> None:
    address = f"{new_id('x')[-12:]}@example.com"
    client = world.client((await mailbox.sign_up(world, address))["token"])
    await client.patch("/v1/me", json={"name": "Other"}, headers={"if-match": "*"})
    await sign_in(world.client(), address)
    await client.post("/v1/me/sessions/revocation", json={})
    await client.put("/v1/me/password", json=NEW)
    await world.client().post("/v1/auth/reset-mail", json={"email": address})
    token = await token_in(mailbox, address)
    await world.client().post("/v1/auth/reset", json={"token": token, "password": PASSWORD})
    rows = await world.superuser.fetch(
        "SELECT e.type, e::text AS whole"
        '  FROM app.account_event AS e JOIN app."user" AS u ON u.id = e.user_id WHERE u.email_norm = $1',
        address,
    )
    for row in rows:
        assert not {secret for secret in ("argon2", "ins_", PASSWORD, NEW_PASSWORD) if secret in row["whole"]}
    assert {row["type"] for row in rows} == {event.TYPE for event in EVENTS}
    assert await misfits(world.superuser) == []


async def test_an_event_goes_into_the_record_it_belongs_to_or_nowhere(litestar: Litestar) -> None:
    async with litestar.state.databases.rw.transaction(read_only=True) as db:
        for organization, event in (
            (None, ProjectDeleted(target_id="p", name="A project", key="KEY")),
            ("org_x", SessionRevoked(target_id="s")),
        ):
            db.principal = Principal("usr_x", "crd_x", "session", organization)
            with pytest.raises(TypeError, match="does not belong"):
                record(db, event)
        assert db.journal.events == db.journal.account == []


async def test_a_record_is_forgotten_after_400_days_and_never_before_90(world: World, settings: Settings) -> None:
    person = await world.person()
    for days in (89, 100, 399, 401, 500):
        await plant(world, person, datetime.now(UTC) - timedelta(days=days))
        await world.superuser.execute(
            "UPDATE app.account_event SET recorded_at = now() - make_interval(days => $2)"
            " WHERE user_id = $1 AND recorded_at > now() - interval '1 day'",
            to_uuid("usr", person.id),
            days,
        )
    (chore,) = [each for each in identity.FEATURE.schedules if each.name == "purge_account_events"]
    purge = "SELECT app.purge_account_events(interval '{}', {})"
    platform = await asyncpg.connect(settings.platform_database_url)
    try:
        for statement, left in (
            (purge.format("400 days", 1), 4),
            (chore.statement, 3),
            (purge.format("0", 50000), 1),
            (purge.format("-10 years", 50000), 1),
        ):
            await platform.execute(statement)
            assert await lines(world, person) == left
    finally:
        await platform.close()


async def test_a_purged_sign_up_takes_its_record_along(world: World) -> None:
    person = await world.person()
    await plant(world, person, datetime.now(UTC))
    await world.superuser.execute("DELETE FROM app.credential WHERE user_id = $1", to_uuid("usr", person.id))
    await world.superuser.execute(
        "UPDATE app.\"user\" SET email_verified_at = NULL, created_at = now() - interval '8 days' WHERE id = $1",
        to_uuid("usr", person.id),
    )
    assert await world.superuser.fetchval("SELECT app.purge_sign_ups(interval '7 days', 10000)") >= 1
    assert await lines(world, person) == 0


async def test_a_sign_in_and_a_sign_out_at_once_do_not_wait_for_each_other_in_a_circle(world: World) -> None:
    """The record has no foreign key: its check would lock the person behind the session, sign-in does it before."""
    person = await with_password(world)
    user = to_uuid("usr", person.id)
    async with world.superuser.transaction():
        await world.superuser.execute('SELECT FROM app."user" WHERE id = $1 FOR UPDATE', user)
        async with asyncio.timeout(5):
            assert (await world.client(person.token).post("/v1/auth/sign-out")).status_code == 204
    assert await lines(world, person) == 1


async def test_a_session_that_was_over_already_does_not_end_once_more(world: World) -> None:
    person = await world.person()
    expired, idle = await world.session(person.id), await world.session(person.id)
    over = {"expires_at = now()": expired, "idle_timeout = interval '1 s', last_used_at = now() - interval '1 h'": idle}
    for change, token in over.items():
        await world.superuser.execute(
            f"UPDATE app.credential SET {change} WHERE hash = $1",  # the test's own
            world.digest(token),
        )
        assert (await world.client(token).post("/v1/auth/sign-out")).status_code == 204
    revoked = await world.client(person.token).post("/v1/me/sessions/revocation", json={})
    assert revoked.json() == {"revoked": 0}
    assert await told(world.client(person.token)) == []


async def test_no_more_is_written_at_once_than_anybody_does(world: World, settings: Settings) -> None:
    """Each line has a millisecond of its own, and those that follow come after it."""
    person = await world.person()
    many = """SELECT app.record_mine(jsonb_agg(jsonb_build_object(
        'type', 'session.revoked', 'version', 1, 'target_type', 'session', 'data', '{}'::jsonb, 'context', '{}'::jsonb)))
        FROM generate_series(1, $1::integer)"""
    login = await asyncpg.connect(settings.database_url)
    try:
        for amount in (1000, 1001):
            transaction = login.transaction()
            await transaction.start()
            await login.fetchrow("SELECT * FROM app.enter($1, NULL)", world.digest(person.token))
            if amount > 1000:
                with pytest.raises(asyncpg.ProgramLimitExceededError):
                    await login.execute(many, amount)
            else:
                await login.execute(many, amount)
            await transaction.rollback()
    finally:
        await login.close()


async def test_who_is_signed_out_while_changing_the_password_is_told_so_and_not_that_it_was_wrong(world: World) -> None:
    person = await with_password(world)
    token = await world.session(person.id)
    async with world.superuser.transaction():
        await world.superuser.execute('SELECT FROM app."user" WHERE id = $1 FOR UPDATE', to_uuid("usr", person.id))
        change = asyncio.create_task(world.client(token).put("/v1/me/password", json=NEW))
        waits = (
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        async with asyncio.timeout(10):
            while not await world.superuser.fetchval(waits):
                await asyncio.sleep(0.01)
        await world.superuser.execute(
            "UPDATE app.credential SET revoked_at = now(), revoked_reason = 'revoked' WHERE hash = $1",
            world.digest(token),
        )
    assert (await change).status_code == 401
