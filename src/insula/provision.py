"""Prepare a server (roles, database) and bring its schema up to date."""

import asyncio
import os
import random
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from insula.core.db import ENGINE_URL, defaults_of
from insula.core.errors import sqlstate_of
from insula.core.mendable import Mendable
from insula.core.reach import reaching
from insula.schema import BRANCHES, MIGRATIONS, VERSION_TABLE
from insula.settings import variable_of
from insula.way_back import is_back, refused

LOGINS: Final = ("app_migrator", "app_rw", "app_identity", "app_platform")
"""One login per job; none of them owns a table or can become another at run time (app_migrator becomes app_owner)."""

ADDRESSES: Final = (
    *("owner_database_url", "database_url", "identity_database_url", "platform_database_url"),
    "admin_database_url",
)
"""The settings that a server is provisioned by."""

_ONE_AT_A_TIME: Final = 7301190416
_LOOK_AGAIN_SECONDS: Final = 0.5
_BUSY: Final = frozenset({"55P03", "40P01"})
"""A lock was not to be had in time, or the migration was chosen out of a deadlock: nothing of the revision is there."""
_ATTEMPTS: Final = 60
_BREATH_SECONDS: Final = (1.0, 3.0)
"""Between two attempts: whoever queued behind the first one gets through."""

_log = structlog.get_logger("insula.migrations")


class PasswordsMissing(Mendable):
    """The settings' addresses give a login no password."""


class RevisionRefused(Mendable):
    """There is no such revision, or no such way from here."""


class TablesBusy(Mendable):
    """Somebody holds what a revision needs, for longer than it may make others wait."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"a table is busy ({getattr(error, 'orig', error)}): end what holds it, and run `insula migrate` again;"
            " revisions that were reached stay."
        )


async def provision(admin_dsn: str, database: str, passwords: Mapping[str, str]) -> None:
    """Create the roles and the database where they are missing; needs a superuser. Safe to repeat."""
    with reaching(admin_dsn):
        connection = await asyncpg.connect(admin_dsn)
    try:
        for role in ("app_owner", "app_door"):
            await _create_role(connection, role, None)
        for role in LOGINS:
            await _create_role(connection, role, passwords[role])
        await _run(connection, "GRANT app_owner, app_door TO app_migrator")
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database):
            await _run(connection, "CREATE DATABASE %I OWNER app_owner", database)
        await open_database(connection, database)
    finally:
        await connection.close()
    inside = await asyncpg.connect(admin_dsn, database=database)
    try:
        await inside.execute((MIGRATIONS / "sql" / "provision.sql").read_text())
    finally:
        await inside.close()


async def open_database(connection: asyncpg.Connection, database: str) -> None:
    """Let our logins in and everybody else out; a database cloned from a template needs this again."""
    await _run(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
    for role in LOGINS:
        await _run(connection, "GRANT CONNECT ON DATABASE %I TO %I", database, role)


async def forget(admin_dsn: str, database: str) -> None:
    """Drop a database and all that is in it."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await _run(connection, "DROP DATABASE IF EXISTS %I WITH (FORCE)", database)
    finally:
        await connection.close()


async def migrate(owner_dsn: str, revision: str = "heads", *, everything: bool = False) -> str:
    """Run the migrations up to ``revision``, each in a transaction of its own, as a member of app_owner; returns what
    the schema is at then, which one that lies behind does not change. ``everything`` allows to empty the database.

    The DSN must be direct: a transaction pooler would hand the migration's locks to somebody else. Raises
    RevisionRefused, TablesBusy and Unreachable.
    """
    engine = create_async_engine(ENGINE_URL, poolclass=NullPool, connect_args={"dsn": owner_dsn})
    try:
        with reaching(owner_dsn):
            connection = await engine.connect()
        async with aclosing(connection):
            await _wait_for_others(connection)
            await _migrate(connection, revision, everything=everything)
            schema = func.to_regnamespace("app")
            return await connection.scalar(select(func.obj_description(schema, "pg_namespace"))) or ""
    except CommandError as error:
        raise RevisionRefused(f"cannot migrate to {revision}: {error}") from error
    finally:
        await engine.dispose()


async def _wait_for_others(connection: AsyncConnection) -> None:
    """Two releases that migrate at once take turns; the lock ends with the connection.

    Whoever waits asks again and again: a statement that waited would be a transaction that an index built concurrently
    waits for, and the two would wait for each other.
    """
    while not await connection.scalar(select(func.pg_try_advisory_lock(_ONE_AT_A_TIME))):
        await connection.rollback()
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    await connection.rollback()


async def _migrate(connection: AsyncConnection, revision: str, *, everything: bool) -> None:
    """Revisions that were reached stay, and another attempt goes on from there: no way that is counted from here."""
    attempts = 1 if "-" in revision or "+" in revision else _ATTEMPTS
    for attempt in range(1, attempts + 1):
        try:
            await connection.run_sync(_alembic, revision, everything)
        except (DBAPIError, asyncpg.PostgresError) as error:
            if sqlstate_of(error) not in _BUSY:
                raise
            if attempt == attempts:
                raise TablesBusy(error) from error
            await connection.rollback()
            _log.warning("a table is busy: the migration let the others through, and tries again", attempt=attempt)
            await asyncio.sleep(random.uniform(*_BREATH_SECONDS))  # noqa: S311  # nobody gains by guessing it
        else:
            return


def _alembic(connection: Connection, revision: str, everything: bool) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    if not is_back(revision):
        command.upgrade(config, revision)
        return
    heads = MigrationContext.configure(connection, opts=VERSION_TABLE).get_current_heads()
    if why := refused(ScriptDirectory.from_config(config), heads, revision, everything=everything):
        raise CommandError(why)
    command.downgrade(config, revision)


def alembic_config() -> Config:
    """Where the migrations are, in alembic's words."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", os.pathsep.join(map(str, BRANCHES)))
    config.set_main_option("path_separator", "os")
    return config


async def _create_role(connection: asyncpg.Connection, role: str, password: str | None) -> None:
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
        await _run(connection, "CREATE ROLE %I", role)
    rights = "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"
    if password is None:
        await _run(connection, f"ALTER ROLE %I NOLOGIN {rights}", role)
        return
    inherit = "INHERIT" if role == "app_migrator" else "NOINHERIT"
    await _run(connection, f"ALTER ROLE %I LOGIN {inherit} {rights} PASSWORD %L", role, password)
    if role != "app_migrator":
        for name, value in defaults_of(role).items():
            quoting = "%s" if name == "search_path" else "%L"  # a list of names, or one value
            await _run(connection, f"ALTER ROLE %I SET {name} = {quoting}", role, value)


async def _run(connection: asyncpg.Connection, template: str, *names: str) -> None:
    """Run a statement whose identifiers and literals cannot be bound; the server itself does the quoting."""
    statement = await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, list(names))
    await connection.execute(statement)


async def provision_for(urls: Mapping[str, str]) -> None:
    """Provision the server that these addresses lead to, with the passwords they carry. Raises PasswordsMissing."""
    parts = [urlsplit(urls[name]) for name in ADDRESSES if name != "admin_database_url"]
    passwords = {unquote(part.username or ""): unquote(part.password or "") for part in parts}
    missing = [login for login in LOGINS if not passwords.get(login)]
    if missing:
        raise PasswordsMissing("\n".join(f"{variable_of(login)} gives no password for {login}" for login in missing))
    await provision(urls["admin_database_url"], parts[0].path.lstrip("/"), passwords)
