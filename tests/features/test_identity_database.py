"""What the login behind sign-in can do in the database: what it is asked to, and nothing else."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from litestar import Litestar

from insula.core import clock
from insula.core.catalogue.doors import APP_IDENTITY
from insula.core.ids import to_uuid
from insula.settings import Settings
from tests.factories import Person, World
from tests.features.signing_in import PASSWORD, give_password

_HOUSE = {"tenant_id", "user_id", "prove_untouched", "end_session"}
_EXECUTABLE = """
SELECT p.proname FROM pg_catalog.pg_proc p
 WHERE p.pronamespace = 'app'::regnamespace AND has_function_privilege($1, p.oid, 'EXECUTE')
"""
_SIGN_UP = "SELECT app.sign_up($1, $2, $2, 'Somebody', $3, $4, $5, '{}', NULL)"
_SIGN_IN = "SELECT * FROM app.sign_in($1, $2, $3, $4, NULL, '1 hour', $5, 100, '{}')"


@pytest.fixture
async def intruder(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who found a way to run SQL as app_identity; nothing of it is committed."""
    connection = await asyncpg.connect(settings.identity_database_url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


async def attempt(connection: asyncpg.Connection, statement: str, *arguments: Any) -> str | None:
    """The SQLSTATE of a statement, None when it worked; the transaction goes on."""
    try:
        async with connection.transaction():
            await connection.execute(statement, *arguments)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    return None


async def test_app_identity_may_touch_no_table(intruder: asyncpg.Connection, superuser: asyncpg.Connection) -> None:
    tables = await superuser.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'app'::regnamespace"
        " AND relkind IN ('r', 'p', 'v', 'm')"
    )
    assert len(tables) > 15
    for table in (row["name"] for row in tables):
        for statement in (f"SELECT FROM {table}", f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES",
                          f"TRUNCATE {table}", f"LOCK {table} IN ACCESS SHARE MODE"):  # fmt: skip
            assert await attempt(intruder, statement) == "42501", statement
    columns = await superuser.fetchval(
        "SELECT count(*) FROM information_schema.column_privileges WHERE grantee = 'app_identity' AND table_schema = 'app'"
    )
    assert columns == 0


async def test_app_identity_may_execute_the_named_functions_and_no_other(superuser: asyncpg.Connection) -> None:
    executable = {row["proname"] for row in await superuser.fetch(_EXECUTABLE, "app_identity")}
    assert executable == set(APP_IDENTITY)


async def test_the_doors_of_sign_in_open_for_its_login_only(superuser: asyncpg.Connection) -> None:
    for login in ("app_rw", "app_platform", "app_migrator"):
        executable = {row["proname"] for row in await superuser.fetch(_EXECUTABLE, login)}
        if login != "app_migrator":  # a member of app_door, which owns them
            assert not executable & (set(APP_IDENTITY) - _HOUSE), login
    for inner in (
        "create_user",
        "open_session",
        "set_password",
        "take_credential",
        "await_token",
        "keep_newest",
        "enqueue_for",
        "end_session_of",
        "record_ended",
        "record_account",
        "next_account_event_ids",
    ):
        for login in ("app_rw", "app_identity", "app_platform"):
            assert inner not in {row["proname"] for row in await superuser.fetch(_EXECUTABLE, login)}, (inner, login)


async def test_no_function_shows_a_hash(world: World, intruder: asyncpg.Connection) -> None:
    person = await world.person()
    await give_password(world, person)
    stored = await world.superuser.fetchval(
        "SELECT hash FROM app.password WHERE user_id = $1", to_uuid("usr", person.id)
    )
    recipe = await intruder.fetchval("SELECT app.sign_in_recipe($1)", person.email)
    assert stored.startswith(recipe)
    assert stored.removeprefix(recipe) not in {"", stored}
    assert recipe.endswith("$")


async def test_no_plan_of_a_door_shows_a_hash(intruder: asyncpg.Connection) -> None:
    email, secret = f"{uuid4().hex}@example.com", uuid4().hex
    await intruder.execute(_SIGN_UP, uuid4(), email, f"$argon2id${secret}", uuid4(), uuid4())
    plans: list[bytes] = []
    intruder.add_log_listener(lambda _connection, message: plans.append(constants_of(message.detail or "")))
    await intruder.execute("SET LOCAL client_min_messages = log; SET LOCAL debug_print_plan = on")
    await intruder.execute("SET LOCAL debug_pretty_print = off")  # a pretty line may end within a number
    link = uuid4()
    await intruder.execute("SELECT app.resend_verification($1, $2, $3, '{}', NULL)", email, link, uuid4())
    assert any(link.bytes in plan for plan in plans)  # the control: what a door has in a variable is shown
    assert not any(secret.encode() in plan for plan in plans)


def constants_of(plan: str) -> bytes:
    """What stands in a printed plan as it is."""
    found = re.findall(r":constvalue\s+\d+\s+\[([-\d\s]*)\]", plan)
    return b" ".join(bytes(int(byte) & 255 for byte in one.split()) for one in found)


async def test_whoever_holds_the_login_cannot_open_a_session_without_the_password(
    world: World, intruder: asyncpg.Connection
) -> None:
    person = await world.person()
    await give_password(world, person)
    recipe = await intruder.fetchval("SELECT app.sign_in_recipe($1)", person.email)
    for answer in (recipe, "", recipe + "A" * 43, None):
        found = await intruder.fetchrow(_SIGN_IN, person.email, answer, uuid4(), b"x" * 32, clock.now() + timedelta(1))
        assert set(found.values()) == {None}


async def test_whoever_holds_the_login_cannot_set_a_token_for_anybody(
    world: World, intruder: asyncpg.Connection
) -> None:
    person = await world.person()
    chosen = b"c" * 32
    await intruder.execute("SELECT app.ask_reset($1, $2, $3, '{}', NULL)", person.email, uuid4(), uuid4())
    assert await attempt(intruder, "SELECT app.arm_credential($1, $2, '1 hour')", uuid4(), chosen) == "42501"
    assert (
        await intruder.fetchval("SELECT app.reset_password($1, 'hash', $2, '{}', NULL, '{}')", chosen, uuid4()) is None
    )


async def test_a_failed_sign_in_writes_nothing_whatever_the_reason(world: World, intruder: asyncpg.Connection) -> None:
    known, unverified, disabled = [await world.person() for _ in range(3)]
    for person in (known, unverified, disabled):
        await give_password(world, person)
    await world.superuser.execute('UPDATE app."user" SET email_verified_at = NULL WHERE email = $1', unverified.email)
    await world.superuser.execute('UPDATE app."user" SET disabled_at = now() WHERE email = $1', disabled.email)
    right = {row["email"]: row["hash"] for row in await world.superuser.fetch(
        'SELECT email, hash FROM app."user" JOIN app.password ON user_id = id')}  # fmt: skip
    for email, answer in (
        (known.email, "wrong"),
        ("nobody@example.com", "wrong"),
        (unverified.email, right[unverified.email]),
        (disabled.email, right[disabled.email]),
    ):
        found = await intruder.fetchrow(_SIGN_IN, email, answer, uuid4(), b"x" * 32, clock.now() + timedelta(1))
        assert found["id"] is None
        # No transaction id, so nothing to write, and no wait for the disk that a stopwatch could see.
        assert await intruder.fetchval("SELECT pg_current_xact_id_if_assigned()") is None


async def test_asking_for_a_letter_never_waits_for_the_disk(world: World, intruder: asyncpg.Connection) -> None:
    """Where there is nothing to write there is nothing to wait for, so nobody may wait."""
    person = await world.person()
    for email in (person.email, "nobody@example.com"):
        for door in ("ask_reset", "resend_verification"):
            await intruder.execute("SET LOCAL synchronous_commit = on")
            await intruder.execute(f"SELECT app.{door}($1, $2, $3, '{{}}', NULL)", email, uuid4(), uuid4())
            assert await intruder.fetchval("SHOW synchronous_commit") == "off"


async def test_a_worker_arms_links_of_its_own_job_only(world: World, litestar: Litestar) -> None:
    ada, eve = await world.person(), await world.person()
    await world.client().post("/v1/auth/reset-mail", json={"email": ada.email})
    link: UUID = await world.superuser.fetchval(
        "SELECT id FROM app.credential WHERE user_id = $1 AND kind = 'reset'", to_uuid("usr", ada.id)
    )
    session: UUID = await world.superuser.fetchval(
        "SELECT id FROM app.credential WHERE user_id = $1 AND kind = 'session'", to_uuid("usr", ada.id)
    )
    armed = {
        (whose.email, credential): await _arm(litestar, whose, credential)
        for whose in (ada, eve)
        for credential in (link, session)
    }
    assert armed == {
        (ada.email, link): True,
        (ada.email, session): False,
        (eve.email, link): False,
        (eve.email, session): False,
    }


async def test_inside_an_organization_nobodys_links_are_armed(world: World, litestar: Litestar) -> None:
    owner = await world.owner()
    await world.client().post("/v1/auth/reset-mail", json={"email": owner.person.email})
    link: UUID = await world.superuser.fetchval(
        "SELECT id FROM app.credential WHERE user_id = $1 AND kind = 'reset'", to_uuid("usr", owner.person.id)
    )
    assert not await _arm(litestar, owner.person, link, to_uuid("org", owner.organization_id))
    assert await _arm(litestar, owner.person, link)


async def _arm(litestar: Litestar, person: Person, credential: UUID, organization: UUID | None = None) -> bool:
    """As app_rw, inside this person's signed context."""
    async with litestar.state.databases.rw.transaction(read_only=True) as db:
        digest = litestar.state.keyring.digest(person.token)
        await db.driver.fetchrow("SELECT * FROM app.enter($1, $2)", digest, organization)
        return await db.driver.fetchval("SELECT app.arm_credential($1, $2, '1 hour')", credential, b"a" * 32)


async def test_a_password_that_was_changed_meanwhile_opens_nothing(world: World, litestar: Litestar) -> None:
    """The answer was made from the recipe of a password that is not stored any more when the second door looks."""
    person = await world.person()
    await give_password(world, person)
    passwords = litestar.state.passwords
    original = passwords.answer

    async def slow_answer(password: str, recipe: str | None) -> str:
        answer = await original(password, recipe)
        await world.superuser.execute(
            "UPDATE app.password SET hash = 'another' WHERE user_id = $1", to_uuid("usr", person.id)
        )
        return answer

    passwords.answer = slow_answer
    try:
        refused = await world.client().post("/v1/auth/sign-in", json={"email": person.email, "password": PASSWORD})
    finally:
        del passwords.answer
    assert refused.status_code == 401
