"""Two tenants on a program with one connection per pool: where hostile SQL of one would meet the other."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from litestar import Litestar

from insula.core.db import Database, Driver, Transaction
from insula.core.ids import to_uuid
from tests.factories import Member, World

SESSION = (
    "SELECT * FROM pg_prepared_statements",
    "SELECT * FROM pg_cursors",
    "SELECT * FROM pg_listening_channels()",
    "SELECT pid, query, application_name FROM pg_stat_activity WHERE datname = current_database()",
    "SELECT locktype, classid, objid, mode FROM pg_locks",
    "SELECT name, setting FROM pg_settings",
    "SELECT current_setting('app.context', true), current_setting('stolen.secret', true)",
    "SELECT app.tenant_id(), app.user_id()",
)
"""What of a session outlives a transaction."""

READABLE = """
SELECT format('SELECT * FROM %s', c.oid::regclass) FROM pg_class c
 WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND has_table_privilege('app_rw', c.oid, 'SELECT')
"""


class Tenant(msgspec.Struct, frozen=True):
    """An organization whose every text holds a word that nobody else can know."""

    owner: Member
    word: str
    project_id: str
    session_hash: bytes

    @property
    def id(self) -> str:
        return str(to_uuid("org", self.owner.organization_id))

    @property
    def project(self) -> str:
        return str(to_uuid("prj", self.project_id))

    @property
    def person(self) -> str:
        return str(to_uuid("usr", self.owner.person.id))

    def secrets(self) -> tuple[str, ...]:
        """What must never reach the neighbour, in each form in which it could be printed."""
        token = self.owner.person.token
        return self.word, token, token.encode().hex(), self.session_hash.hex(), repr(self.session_hash)[2:20]


class Arena:
    """The program, its database and the two tenants."""

    def __init__(self, app: Litestar, world: World, superuser: asyncpg.Connection) -> None:
        self.app, self.world, self.superuser = app, world, superuser
        self.a: Tenant
        self.b: Tenant
        self.harvest: list[str] = []
        """What an attacker looks through after the neighbour was there."""

    @property
    def database(self) -> Database:
        database: Database = self.app.state.databases.rw
        return database

    async def settle(self) -> None:
        """Let two tenants move in."""
        self.harvest = [*SESSION, *(row[0] for row in await self.superuser.fetch(READABLE))]
        self.a, self.b = await self.tenant(), await self.tenant()

    async def tenant(self) -> Tenant:
        word = f"canary{secrets.token_hex(8)}"
        owner = await self.world.owner(name=f"Organization {word}")
        tenant = to_uuid("org", owner.organization_id)
        await self.superuser.execute(
            "UPDATE app.membership SET name = $2, name_norm = $2 WHERE tenant_id = $1", tenant, word
        )
        made = await owner.client.post(
            owner.url("/projects"),
            json={"name": word, "key": "ONE", "metadata": {"word": word}},
            headers={"idempotency-key": word},
        )
        assert made.status_code == 201, made.text
        team = await owner.client.post(owner.url("/teams"), json={"name": f"Team {word}"})
        assert team.status_code == 201, team.text
        renamed = await owner.client.patch("/v1/me", json={"name": f"Person {word}"}, headers={"if-match": "*"})
        assert renamed.status_code == 200, renamed.text
        hashed = self.world.digest(owner.person.token)
        return Tenant(owner, word, made.json()["id"], hashed)

    @asynccontextmanager
    async def inside(self, tenant: Tenant, *, read_only: bool, alone: bool = False) -> AsyncIterator[Transaction]:
        """A transaction of the program, entered as the tenant's owner: where SQL would be slipped in.

        ``alone``: in the owner's own plane, outside of organizations.
        """
        organization = None if alone else to_uuid("org", tenant.owner.organization_id)
        for last in (False, True):
            async with self.database.transaction(read_only=read_only) as transaction:
                try:
                    verdict = await transaction.driver.fetchval(
                        "SELECT verdict FROM app.enter($1, $2)", tenant.session_hash, organization
                    )
                except asyncpg.ConnectionDoesNotExistError:
                    # PgBouncer ends a client whose statements it has forgotten, as DISCARD ALL bids it.
                    if last:
                        raise
                    continue
                assert verdict == "admitted"
                yield transaction
                return

    async def attack(
        self, statements: Sequence[str], *, read_only: bool, between: Callable[[], Awaitable[None]] | None = None
    ) -> str:
        """Run A's hostile statements as a request would have, to its commit; returns all that they answered.

        Behind a pooler, what is done ``between`` two of them that stand in no transaction meets the same backend.
        """
        async with self.inside(self.a, read_only=read_only) as transaction:
            told = await answers(transaction.driver, statements, between)
            try:
                told += str(await transaction.driver.execute("COMMIT"))
            except ANSWERS as error:  # an attack may have ended its own connection, or spoilt its own context
                told += repr(error)
            transaction.settled = True
        return told

    async def works_for(self, tenant: Tenant) -> str:
        """The tenant's ordinary requests, over both pools: right, and about nobody else. Returns what they answered."""
        url = tenant.owner.url(f"/projects/{tenant.project_id}")
        changed = await self.patiently(tenant, "PATCH", url, json={"name": tenant.word}, headers={"if-match": "*"})
        listed = await self.patiently(tenant, "GET", tenant.owner.url("/projects"))
        assert changed["name"] == tenant.word
        assert [row["name"] for row in listed["data"]] == [tenant.word]
        return str((changed, listed))

    async def patiently(self, tenant: Tenant, method: str, url: str, **options: Any) -> Any:
        """A request; a connection that an attack has spoilt may cost one 503."""
        for _ in range(2):
            answer = await tenant.owner.client.request(method, url, **options)
            if answer.status_code != 503:
                break
        assert answer.status_code == 200, f"{method} {url}: {answer.status_code} {answer.text}"
        return answer.json()

    async def duel(self, statements: Sequence[str], *, read_only: bool) -> None:
        """A attacks, B works, A looks what it caught, and both work on."""
        told = await self.attack(statements, read_only=read_only)
        assert_nothing_of(self.b, told)
        assert_nothing_of(self.a, await self.works_for(self.b))
        assert_nothing_of(self.b, await self.attack(self.harvest, read_only=read_only))
        assert_nothing_of(self.b, await self.works_for(self.a))


ANSWERS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    ValueError,
    ArithmeticError,
)
"""An error is an answer, too; the last two come from values that Python cannot hold."""


async def answers(
    driver: Driver, statements: Sequence[str], between: Callable[[], Awaitable[None]] | None = None
) -> str:
    """Whatever the statements answer, errors with their details included; an error does not end the attack."""
    told = []
    for statement in statements:
        try:
            if driver.is_in_transaction():
                await driver.execute("SAVEPOINT before")
            told.append(repr(await _run(driver, statement)))
        except ANSWERS as error:
            told.append(f"{error!r} {getattr(error, 'detail', '')} {getattr(error, 'where', '')}")
            if driver.is_closed():
                break
            if driver.is_in_transaction():
                await driver.execute("ROLLBACK TO before")
        if between is not None and not driver.is_in_transaction():
            await between()
    return "\n".join(told)


async def _run(driver: Driver, statement: str) -> Any:
    try:
        return [tuple(row) for row in await driver.fetch(statement, timeout=20)]
    except asyncpg.PostgresSyntaxError as error:
        if "multiple commands" not in str(error):
            raise
        return await driver.execute(statement, timeout=20)


def assert_nothing_of(tenant: Tenant, told: str) -> None:
    found = [secret for secret in tenant.secrets() if secret.lower() in told.lower()]
    assert not found, f"the neighbour learned {found}: {told[:2000]}"


@asynccontextmanager
async def policy_at_a_price(superuser: asyncpg.Connection, cost: int) -> AsyncIterator[None]:
    """Policies cost something, as they do where nobody provisioned: what is cheaper is asked before them."""
    await superuser.execute(f"ALTER FUNCTION uuid_eq(uuid, uuid) COST {cost}")
    try:
        yield
    finally:
        await superuser.execute(
            "SET allow_system_table_mods = on;"
            " UPDATE pg_proc SET procost = 0 WHERE oid = 'uuid_eq(uuid, uuid)'::regprocedure;"
            " RESET allow_system_table_mods"
        )
