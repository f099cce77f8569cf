"""The embedded Postgres ends with its starter, and loses nothing to a kill."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.embedded.servers import (
    BUSY,
    STARTER,
    Server,
    ask,
    end,
    nothing_runs_in,
    postmaster,
    run,
    said,
    wait_until,
)


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
    ask(postgres.dsn(), "CREATE TABLE numbers AS SELECT generate_series(1, 1000)")
    busy = run(BUSY, postgres.dsn())
    assert said(busy) == "busy"

    os.kill(postmaster(postgres), signal.SIGKILL)
    postgres.start()

    assert ask(postgres.dsn(), "SELECT count(*) FROM numbers") == 1000
    end(busy)


def test_a_server_whose_starter_was_killed_stops_and_starts_again(tmp_path: Path, server: Server) -> None:
    starter = run(STARTER, tmp_path / "a folder")
    ask(said(starter), "CREATE TABLE kept AS SELECT 42 AS answer")
    end(starter)

    postgres = server("a folder")
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

    postgres = server("a folder")
    postgres.start()

    assert ask(postgres.dsn(), "SELECT 1") == 1


def test_a_pid_file_that_names_no_server_of_the_folder_is_in_nobodys_way(server: Server) -> None:
    postgres = server()
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)

    for left in ("", f"{os.getpid()}\n", f"{zombie.pid}\n"):
        (postgres.data / "postmaster.pid").write_text(left)
        postgres.start()
        assert ask(postgres.dsn(), "SELECT 1") == 1
        postgres.stop()

    zombie.wait()


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
