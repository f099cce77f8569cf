"""The drill: everything is deleted, and comes back as it was the second before."""

import asyncio
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from insula.app import create_litestar
from insula.core.http.access_log import AccessLog
from insula.embedded.postgres import EmbeddedPostgres
from insula.provision import migrate, provision
from tests.conftest import PASSWORDS, address, running
from tests.factories import Member, Person, World, settings_for

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "backups" / "pgbackrest.conf"
BINARIES: Final = Path("/usr/lib/postgresql")
DATABASE: Final = "insula"

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("pgbackrest") is None, reason="pgbackrest is not installed"),
]


class Repository:
    """pgBackRest as deploy/ configures it, with this test's paths."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket, self.kept = folder, folder / "socket", folder / "repository"
        for made in (self.socket, self.kept, folder / "conf.d"):
            made.mkdir()
        self.file = folder / "pgbackrest.conf"
        secret = f"[global]\nrepo1-cipher-pass={secrets.token_urlsafe(32)}\nlock-path={folder}/lock\n"
        (folder / "conf.d" / "secret.conf").write_text(secret)

    def configure(self, server: EmbeddedPostgres) -> None:
        """Fill in what differs from the file: where, and which port."""
        given = {
            "pg1-path": server.data,
            "pg1-port": server.port,
            "repo1-path": self.kept,
        }
        text = CONFIGURATION.read_text()
        for name, value in given.items():
            text, found = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", text)
            assert found == 1, name
        # Tests' server asks for a password on its socket, and stands in their folder.
        self.file.write_text(text.replace("[global]", f"pg1-socket-path={self.socket}\n\n[global]", 1))

    @property
    def settings(self) -> dict[str, str]:
        """What postgresql.conf says, as the file tells."""
        told = dict(re.findall(r"(?m)^#   (archive_\w+) = (\S+|'[^']*')(?: +#.*)?$", CONFIGURATION.read_text()))
        assert told.keys() == {"archive_mode", "archive_command", "archive_timeout"}
        command = told["archive_command"].strip("'").replace("pgbackrest ", f"{' '.join(self.command)} ", 1)
        return {**told, "archive_command": command, "unix_socket_directories": str(self.socket)}

    @property
    def command(self) -> list[str]:
        include = f"--config-include-path={self.folder / 'conf.d'}"
        return [str(shutil.which("pgbackrest")), f"--config={self.file}", include]

    def run(self, server: EmbeddedPostgres, *words: str) -> None:
        password = (server.folder / "password").read_text()
        done = subprocess.run(
            [*self.command, "--stanza=insula", *words],
            env=os.environ | {"PGPASSWORD": password},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


def test_backups_are_kept_for_as_long_as_it_is_said() -> None:
    """By their age: a number of them is a time only while none is made by hand, and one week less of it."""
    kept = dict(re.findall(r"(?m)^repo1-(retention-[\w-]+)=(\w+)$", CONFIGURATION.read_text()))
    assert kept == {"retention-full": str(4 * 7), "retention-full-type": "time"}
    assert "kept for four weeks" in (CONFIGURATION.parents[1] / "README.md").read_text()


@asynccontextmanager
async def program(server: EmbeddedPostgres, redis_url: str) -> AsyncIterator[World]:
    """Insula on this server; its start proves the catalogue."""
    admin = server.dsn()
    settings = settings_for(
        database_url=address(admin, "app_rw", DATABASE),
        identity_database_url=address(admin, "app_identity", DATABASE),
        platform_database_url=address(admin, "app_platform", DATABASE),
        owner_database_url=address(admin, "app_migrator", DATABASE),
        redis_url=redis_url,
    )
    litestar, superuser = create_litestar(settings), await asyncpg.connect(server.dsn(DATABASE))
    async with running(litestar):
        yield World(AccessLog(litestar), settings, superuser)
    await superuser.close()


async def create(owner: Member, word: str, count: int) -> None:
    for number in range(count):
        body = {"name": f"{word} {number}", "key": f"{word[:1]}{number}".upper()}
        assert (await owner.client.post(owner.url("/projects"), json=body)).status_code == 201


async def everything(world: World, owner: Member) -> tuple[Any, ...]:
    """What the API tells of an organization: its projects and its events."""
    client = world.client(owner.person.token)
    projects = (await client.get(owner.url("/projects?limit=100"))).json()["data"]
    events = (await client.get(owner.url("/events?limit=100&type=project.created"))).json()["data"]
    return projects, events


async def test_all_that_was_deleted_is_there_again_as_it_was_a_second_before(tmp_path: Path, redis_url: str) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o711)  # a server that does not run as root must be able to enter
    binaries = min(BINARIES.glob("[0-9]*/bin"), key=lambda path: int(path.parent.name))
    repository = Repository(tmp_path)
    server = EmbeddedPostgres(tmp_path / "server", binaries=binaries, settings=repository.settings)
    with server:
        repository.configure(server)
        await provision(server.dsn(), DATABASE, PASSWORDS)
        await migrate(address(server.dsn(), "app_migrator", DATABASE))
        repository.run(server, "stanza-create")
        async with program(server, redis_url) as world:
            owner = await world.owner()
            await create(owner, "before", 20)
            repository.run(server, "--type=full", "backup")
            await create(owner, "after", 20)  # the write-ahead log alone has these
            await asyncio.sleep(1)  # pgBackRest counts in seconds
            kept = await everything(world, owner)
            assert [len(part) for part in kept] == [40, 40]
            moment: datetime = await world.superuser.fetchval("SELECT clock_timestamp()")
            await asyncio.sleep(1)
            await world.superuser.execute("DELETE FROM app.project; DELETE FROM app.event")
            assert await everything(world, owner) == ([], [])
            await world.superuser.execute("SELECT pg_switch_wal()")
            repository.run(server, "check")
    restored = EmbeddedPostgres(tmp_path / "restored", binaries=binaries, settings=repository.settings)
    restored.data.mkdir(parents=True, mode=0o700)
    shutil.copy(server.folder / "password", restored.folder / "password")
    told = ["--type=time", f"--target={moment.isoformat(sep=' ')}", "--target-action=promote"]
    repository.run(server, f"--pg1-path={restored.data}", *told, "restore")
    with restored:
        async with asyncio.timeout(60):
            while await recovering(restored):
                await asyncio.sleep(0.1)
        async with program(restored, redis_url) as world:
            assert await everything(world, owner) == kept
            await create(owner_of(world, owner), "later", 1)
    assert_encrypted(repository.kept, b"before 1", b"after 1", owner.person.email.encode())


def owner_of(world: World, owner: Member) -> Member:
    """The same owner, asking the program that was restored."""
    person: Person = owner.person
    return Member(person, owner.organization_id, owner.membership_id, owner.role, world.client(person.token))


async def recovering(server: EmbeddedPostgres) -> bool:
    try:
        connection = await asyncpg.connect(server.dsn())
    except (asyncpg.CannotConnectNowError, OSError):
        return True
    found: bool = await connection.fetchval("SELECT pg_is_in_recovery()")
    await connection.close()
    return found


def assert_encrypted(folder: Path, *words: bytes) -> None:
    """Nobody reads anything in the repository, and nothing in it is a file that its compressor or Postgres would know."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        assert content.startswith(b"Salted__"), path
        assert not any(word in content for word in words), path
