"""The database that CloudNativePG makes from our component is the one that `insula provision` makes."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import yaml

from insula.core.catalogue import check_catalogue
from insula.core.db import Database
from insula.embedded.postgres import EmbeddedPostgres
from insula.provision import LOGINS, migrate, provision
from insula.schema import MIGRATIONS
from insula.settings import load_owner_database_url
from insula.unsafe import LOGINS as LOGINS_OF
from insula.unsafe import unsafe

ROOT = Path(__file__).parents[2]
COMPONENT = ROOT / "k8s" / "components" / "postgres"
CLUSTER = yaml.safe_load((COMPONENT / "cluster.yaml").read_text(encoding="utf-8"))["spec"]

ROLES = """
SELECT rolname::text, rolcanlogin, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
              WHERE m.member = r.oid ORDER BY 1) AS groups,
       ARRAY(SELECT unnest(rolconfig) ORDER BY 1) AS settings
  FROM pg_roles r WHERE rolname ~ '^app_' ORDER BY 1
"""
RIGHTS = (
    "SELECT datdba::regrole::text, ARRAY(SELECT unnest(datacl)::text ORDER BY 1) FROM pg_database WHERE datname = $1"
)


def test_what_prepares_a_database_is_the_same_file() -> None:
    assert (COMPONENT / "provision.sql").read_bytes() == (MIGRATIONS / "sql" / "provision.sql").read_bytes()


def test_every_address_of_the_database_is_one_that_the_program_takes() -> None:
    fields = {login: field for field, login in reversed(LOGINS_OF.items())}
    texts = [re.sub(r"\{\{.*?\}\}", "word", path.read_text()) for path in (ROOT / "k8s").rglob("*.yaml")]
    addresses = {url for text in texts for url in re.findall(r"postgresql://app_[^\"\s]+", text)}
    assert len(addresses) >= 2 * len(LOGINS)
    for url in addresses:
        login = urlsplit(url).username or ""
        if login == "app_migrator":
            place = "embedded" if ":development@" in url else "production"
            given = {"INSULA_OWNER_DATABASE_URL": url, "INSULA_ENVIRONMENT": place}
            assert load_owner_database_url(given) == url
        else:
            assert list(unsafe({fields[login]: url})) == []


async def test_the_operator_makes_the_database_that_provision_makes(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    theirs, ours = EmbeddedPostgres(tmp_path / "theirs"), EmbeddedPostgres(tmp_path / "ours")
    try:
        theirs.start()
        ours.start()
        await as_the_operator(theirs.dsn())
        await provision(ours.dsn(), "insula", dict.fromkeys(LOGINS, "word"))
        assert await seen(theirs.dsn()) == await seen(ours.dsn())
        host = theirs.dsn().rsplit("@", 1)[1].split("/", 1)[0]
        await migrate(f"postgresql://app_migrator:word@{host}/insula")
        program = await Database(f"postgresql://app_rw:word@{host}/insula", pool_size=1).open()
        async with program.transaction(read_only=True) as transaction:
            assert await check_catalogue(transaction.driver) == []
        await program.close()
    finally:
        theirs.stop()
        ours.stop()


async def as_the_operator(admin: str) -> None:
    """What CloudNativePG does with the cluster: initdb's owner and database, our files, then the managed roles."""
    initdb = CLUSTER["bootstrap"]["initdb"]
    server = await asyncpg.connect(admin)
    await server.execute(f"CREATE ROLE {initdb['owner']} LOGIN")
    await server.execute(f"CREATE DATABASE {initdb['database']} OWNER {initdb['owner']}")
    for reference in initdb["postInitSQLRefs"]["configMapRefs"]:
        await server.execute((COMPONENT / reference["key"]).read_text(encoding="utf-8"))
    inside = await asyncpg.connect(admin, database=initdb["database"])
    for reference in initdb["postInitApplicationSQLRefs"]["configMapRefs"]:
        await inside.execute((COMPONENT / reference["key"]).read_text(encoding="utf-8"))
    await inside.close()
    for role in CLUSTER["managed"]["roles"]:
        rights = f"{'LOGIN' if role['login'] else 'NOLOGIN'} {'INHERIT' if role.get('inherit', True) else 'NOINHERIT'}"
        word = "PASSWORD 'word'" if "passwordSecret" in role else ""
        await server.execute(f"ALTER ROLE {role['name']} {rights} {word}")
        for group in role.get("inRoles", []):
            await server.execute(f"GRANT {group} TO {role['name']}")
    await server.close()


async def seen(admin: str) -> list[object]:
    """Roles, their settings, and who may do what with the database."""
    server = await asyncpg.connect(admin)
    try:
        owner, rights = await server.fetchrow(RIGHTS, "insula")
        granter = [right.rsplit("/", 1)[0] for right in rights]
        return [owner, granter, *map(tuple, await server.fetch(ROLES))]
    finally:
        await server.close()


@pytest.mark.parametrize("login", LOGINS)
def test_each_login_has_a_password_of_its_own(login: str) -> None:
    (role,) = [each for each in CLUSTER["managed"]["roles"] if each["name"] == login]
    assert role["passwordSecret"]["name"] == f"insula-login-{login.removeprefix('app_')}"
