"""A command that nobody named an installation to works on the one that is up, or says why it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from insula import instance
from insula.core import logs
from insula.settings import SettingsError, variables
from insula.target import target
from tests.factories import settings_for
from tests.journeys.commanding import ADDRESSES, describe, insula

pytestmark = pytest.mark.usefixtures("nothing_is_configured")
COMMANDS = [("migrate",), ("seed",), ("rotate", "door-key"), ("operator", "list"), ("doctor",)]
every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What is up here, as far as its folder tells; its servers are nowhere."""
    said = variables(settings_for(**ADDRESSES, log_level="warning"))
    lock = instance.lock_of(tmp_path)
    assert lock.acquire()
    instance.write(tmp_path, said)
    yield said
    lock.release()


@every_command
def test_where_nothing_is_up_each_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    told = insula(*command)
    assert told.exit_code == 1
    (line,) = told.output.splitlines()
    assert f"No INSULA_* variables describe an installation, and nothing is up in {tmp_path}" in line
    needed = "DATABASE_URL" if command == ("doctor",) else "OWNER_DATABASE_URL"
    assert f" INSULA_{needed} is missing" in line, "an image or a server is told its way too"
    assert "`insula up`" in line


@every_command
def test_of_variables_whose_up_has_ended_each_says_so(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    describe(monkeypatch, **ADDRESSES)
    told = insula(*command)
    assert told.exit_code == 1
    assert "the `insula up` of these variables" in told.output
    assert "read `insula env` anew" in told.output


@every_command
@pytest.mark.usefixtures("up")
def test_none_takes_what_is_up_for_what_a_misspelt_variable_means(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("INSULA_OWNER_DATABSE_URL", "postgresql://app_migrator@elsewhere/insula")
    told = insula(*command)
    assert told.exit_code == 1
    said = "INSULA_OWNER_DATABSE_URL is no setting; is INSULA_OWNER_DATABASE_URL meant?"
    assert said in told.output
    assert "127.0.0.1" not in told.output, "nobody went there"


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("environment", "production"),
        ("environment_file", "/etc/hostname"),
        ("admin_database_url", "postgresql://postgres@elsewhere/postgres"),
        ("identity_database_url", "postgresql://app_identity@elsewhere/insula"),
        ("jobs_redis_url", "rediss://elsewhere"),
    ],
)
@every_command
def test_none_takes_what_is_up_for_an_installation_that_is_named_in_part(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], name: str, value: str
) -> None:
    monkeypatch.setenv(f"INSULA_{name.upper()}", value)
    told = insula(*command)
    assert told.exit_code == 1
    assert (
        "there is no demo" if (command, value) == (("seed",), "production") else "_DATABASE_URL is missing"
    ) in told.output
    assert "is up in" not in told.output


def test_doctor_names_what_is_missing_where_only_the_owners_address_is_set(
    monkeypatch: pytest.MonkeyPatch, up: dict[str, str]
) -> None:
    monkeypatch.setenv("INSULA_OWNER_DATABASE_URL", up["INSULA_OWNER_DATABASE_URL"])
    told = insula("doctor").output
    assert "INSULA_DATABASE_URL is missing" in told
    assert "nothing is up" not in told


def test_what_is_set_and_not_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, up: dict[str, str]) -> None:
    monkeypatch.setenv("INSULA_LOG_LEVEL", "debug")
    monkeypatch.setenv("INSULA_SMTP_TLS", up["INSULA_SMTP_TLS"])
    found = target(tmp_path, "owner_database_url")
    assert found.environment == up
    assert found.said.splitlines()[1].endswith("instead of these: INSULA_LOG_LEVEL.")
    monkeypatch.setenv("INSULA_LOG_LEVEL", "verbose")
    with pytest.raises(SettingsError, match="INSULA_LOG_LEVEL: 'verbose' is none of"):
        target(tmp_path, "owner_database_url")


@pytest.mark.usefixtures("up")
def test_seed_logs_as_what_is_up_does(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    monkeypatch.setattr(logs, "configure_logs", lambda level, *, json: levels.append((level, json)))
    insula("seed")
    assert levels == [("warning", True)]
