"""What is slow is told as the README says, without anybody's values, and the proof at the start does not mind."""

import io
import os
import re
import subprocess
from pathlib import Path
from typing import Final

import asyncpg
import pytest
import yaml
from msgspec import structs
from rich.console import Console

from insula.core.ids import to_uuid
from insula.doctor import examine
from insula.embedded.inbox import Inbox
from insula.embedded.postgres import EmbeddedPostgres
from insula.provision import migrate, provision
from tests.conftest import PASSWORDS, address
from tests.deploy.test_backups import BINARIES, DATABASE, program
from tests.deploy.test_compose import SERVICES
from tests.deploy.test_installation import DEPLOY, block
from tests.factories import World

CONFIGURED: Final = block("conf.d/statements.conf")
MADE: Final = block("CREATE EXTENSION")
SLOWEST: Final = block("ORDER BY total_exec_time")
TOLD: Final = dict(re.findall(r"(?m)^(\w[\w.]*) = (.+)$", CONFIGURED))


def of_compose() -> dict[str, str]:
    words = SERVICES["postgres"]["command"][1:]
    assert set(words[::2]) == {"-c"}
    return dict(word.split("=", 1) for word in words[1::2])


def of_kubernetes() -> dict[str, str]:
    """The operator loads the library of what is set."""
    cluster = yaml.safe_load((DEPLOY.parent / "k8s" / "components" / "postgres" / "cluster.yaml").read_text())
    parameters: dict[str, str] = cluster["spec"]["postgresql"]["parameters"]
    loaded = sorted({name.partition(".")[0] for name in parameters if "." in name})
    return {**parameters, "shared_preload_libraries": ",".join(loaded)}


@pytest.mark.parametrize("parameters", [of_compose(), of_kubernetes()], ids=["compose", "kubernetes"])
def test_every_installation_tells_of_them_alike(parameters: dict[str, str]) -> None:
    assert len(TOLD) == 4
    assert parameters | TOLD == parameters


class Machine:
    """Where the README's commands are typed: PostgreSQL is the one that it installs, with other paths and a password."""

    def __init__(self, folder: Path) -> None:
        for parent in (folder, *folder.parents[:2]):
            parent.chmod(0o711)  # a server that does not run as root must be able to enter
        binaries = min(BINARIES.glob("[0-9]*/bin"), key=lambda path: int(path.parent.name))
        self.server = EmbeddedPostgres(folder / "server", binaries=binaries)
        self._configuration = folder / "conf.d"
        self._configuration.mkdir(mode=0o755)

    def restart(self) -> None:
        with (self.server.data / "postgresql.conf").open("a") as file:
            file.write(f"include_dir = '{self._configuration}'\n")  # as Debian's says
        self.server.stop()
        self.server.start()

    def type(self, commands: str) -> str:
        ours = 'runuser() { shift 3; "$@"; }\nsystemctl() { :; }\n'
        text = ours + commands.replace("/etc/postgresql/15/main/conf.d", str(self._configuration))
        known = {"PGHOST": "127.0.0.1", "PGPORT": str(self.server.port), "PGUSER": "postgres"}
        known["PGPASSWORD"] = (self.server.folder / "password").read_text()
        done = subprocess.run(["sh", "-euc", text], env=os.environ | known, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.mark.peers
async def test_what_is_slow_is_told_without_anybodys_values(tmp_path: Path, redis_url: str) -> None:
    machine = Machine(tmp_path)
    with machine.server as server:
        await provision(server.dsn(), DATABASE, PASSWORDS)
        await migrate(address(server.dsn(), "app_migrator", DATABASE))
        machine.type(CONFIGURED)
        machine.restart()
        machine.type(MADE)
        async with program(server, redis_url) as world:  # which proves the catalogue
            await doctor_is_content(world, tmp_path)
            await world.superuser.execute("SELECT pg_stat_statements_reset()")
            values = await ask(world)
            slowest = machine.type(SLOWEST)
            for ours in (r"SELECT \* FROM app\.enter\(\$1, \$2\)", r"SELECT app\.project\.id, "):
                assert re.search(rf"(?m)^ +[24]0 \|.*\| app_rw +\| {ours}", slowest), slowest
            await world.superuser.execute("ALTER ROLE app_rw PASSWORD 'app_rw'")
            kept = [row["query"] for row in await world.superuser.fetch("SELECT query FROM pg_stat_statements")]
            assert len(kept) > 10
            assert [text for text in kept if any(value in text for value in (*values, "PASSWORD"))] == []
            await world.superuser.execute("SELECT pg_sleep(1.1), $1::text", values[0])
        await no_login_looks(server)
        log = server.log.read_text()
        assert "SELECT pg_sleep(1.1), $1::text" in log
        assert [value for value in values if value in log] == []


async def ask(world: World) -> list[str]:
    """Make and list projects, as a tenant does; returns what nobody else may read of it."""
    owner = await world.owner("Canary & Sons")
    for number in range(20):
        body = {"name": f"canary {number}", "key": f"C{number}"}
        assert (await owner.client.post(owner.url("/projects"), json=body)).status_code == 201
        assert (await owner.client.get(owner.url("/projects"))).status_code == 200
    tenant = str(to_uuid("org", owner.organization_id))
    return ["canary 1", "Canary & Sons", owner.person.email, owner.person.token, tenant, tenant.replace("-", "")]


async def doctor_is_content(world: World, folder: Path) -> None:
    inbox, said = Inbox(folder / "inbox"), io.StringIO()
    await inbox.start()
    try:
        settings = structs.replace(world.settings, smtp_port=inbox.smtp_port)
        assert await examine(settings, Console(file=said, width=200)), said.getvalue()
    finally:
        await inbox.stop()


async def no_login_looks(server: EmbeddedPostgres) -> None:
    for login in ("app_rw", "app_identity", "app_platform"):
        connection = await asyncpg.connect(address(server.dsn(), login, DATABASE))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="schema public"):
            await connection.fetch("SELECT query FROM public.pg_stat_statements")
        await connection.close()
