"""Prepare a server (roles, database) and bring its schema up to date."""

import os
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from insula.core.db import DEFAULTS
from insula.core.mendable import Mendable
from insula.core.reach import reaching
from insula.schema import BRANCHES, MIGRATIONS
from insula.settings import Settings

LOGINS: Final = ("app_migrator", "app_rw", "app_identity", "app_platform")
"""One login per job; none of them owns a table or can become another at run time (app_migrator becomes app_owner)."""


class PasswordsMissing(Mendable):
    """The settings' addresses give a login no password."""


class RevisionRefused(Mendable):
    """There is no such revision, or no such way from here."""


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


async def migrate(owner_dsn: str, revision: str = "heads") -> None:
    """Run the migrations up to ``revision``, as a member of app_owner, over a connection of their own.

    The DSN must be direct: a transaction pooler would hand the migration's locks to somebody else. Raises
    RevisionRefused and Unreachable.
    """
    engine = create_async_engine(owner_dsn.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        with reaching(owner_dsn):
            connection = await engine.connect()
        async with aclosing(connection), connection.begin():
            await connection.run_sync(_alembic, revision)
    except CommandError as error:
        raise RevisionRefused(f"cannot migrate to {revision}: {error}") from error
    finally:
        await engine.dispose()


def alembic_config() -> Config:
    """Where the migrations are, in alembic's words."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", os.pathsep.join(map(str, BRANCHES)))
    config.set_main_option("path_separator", "os")
    return config


def _alembic(connection: Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    down = revision == "base" or "-" in revision
    (command.downgrade if down else command.upgrade)(config, revision)


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
        for name, value in DEFAULTS.items():
            quoting = "%s" if name == "search_path" else "%L"  # a list of names, or one value
            await _run(connection, f"ALTER ROLE %I SET {name} = {quoting}", role, value)


async def _run(connection: asyncpg.Connection, template: str, *names: str) -> None:
    """Run a statement whose identifiers and literals cannot be bound; the server itself does the quoting."""
    statement = await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, list(names))
    await connection.execute(statement)


async def provision_for(settings: Settings) -> None:
    """Provision the server that the settings' URLs lead to, with the passwords they carry. Raises PasswordsMissing."""
    assert settings.admin_database_url is not None
    urls = [
        settings.owner_database_url,
        settings.database_url,
        settings.identity_database_url,
        settings.platform_database_url,
    ]
    parts = [urlsplit(url) for url in urls if url is not None]
    passwords = {unquote(part.username or ""): unquote(part.password or "") for part in parts}
    missing = [login for login in LOGINS if not passwords.get(login)]
    if missing:
        raise PasswordsMissing(f"the INSULA_*DATABASE_URL variables give no password for {', '.join(missing)}")
    await provision(settings.admin_database_url, parts[0].path.lstrip("/"), passwords)
