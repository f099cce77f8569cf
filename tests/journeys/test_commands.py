"""The command line: what it says of itself, and what it says when something is missing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import fields

from insula import provision
from insula.__main__ import main
from insula.settings import Settings
from tests.architecture.sources import ROOT
from tests.journeys.commanding import ADDRESSES, describe, insula

pytestmark = pytest.mark.usefixtures("nothing_is_configured")


def test_help_calls_the_program_by_its_name() -> None:
    asked = [sys.executable, "-P", "-m", "insula", "--help"]
    told = subprocess.run(asked, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("Usage: insula [OPTIONS] COMMAND")


def test_help_names_every_command_also_the_wrappers_own() -> None:
    wrappers = re.findall(r"^    (\w+)\)$", (ROOT / "insula").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(wrappers) == ["python", "test"]
    told = insula("--help").output
    for name in (*main.commands, *wrappers):
        assert re.search(rf"^ +{name} +[A-Z]", told, re.MULTILINE), name


def test_the_help_of_up_says_where_its_state_lives() -> None:
    assert "in the folder that INSULA_HOME names, by default .insula" in " ".join(insula("up", "--help").output.split())


def test_routes_and_document_need_no_installation() -> None:
    routes = insula("routes").output
    assert re.search(r"GET +/v1/organizations/{organization_id}/projects +projects:read", routes), routes
    assert "/v1/me" in json.loads(insula("openapi").output)["paths"]


def test_where_nothing_is_up_env_and_doctor_say_so(tmp_path: Path) -> None:
    asked = insula("env")
    assert asked.exit_code == 1
    assert f"nothing is up in {tmp_path}" in asked.output
    examined = insula("doctor")
    assert examined.exit_code == 1
    (line,) = examined.output.splitlines()  # eight variables that are missing have this one cause
    assert f"nothing is up in {tmp_path}" in line


@pytest.mark.parametrize("command", ["api", "seed", "provision", "doctor", "worker"])
def test_only_a_worker_needs_no_login_for_signing_people_in(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, **ADDRESSES)
    monkeypatch.delenv("INSULA_IDENTITY_DATABASE_URL")
    refused = insula(command)
    assert refused.exit_code == 1
    assert ("INSULA_IDENTITY_DATABASE_URL is missing" in refused.output) is (command != "worker"), refused.output
    assert ("INSULA_DATABASE_URL" in refused.output) is (command == "worker"), "whose server is away"


def test_a_worker_of_a_queue_that_there_is_not_says_in_a_line_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, **ADDRESSES, worker_queues="bulk,mail")
    told = insula("worker")
    assert told.exit_code == 1
    assert told.output == "Error: INSULA_WORKER_QUEUES: 'mail': no task names it; default, bulk are there\n"


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_up_refuses_a_port_that_is_none(port: str) -> None:
    told = insula("up", "--port", port)
    assert told.exit_code == 2
    assert "Invalid value for '--port'" in told.output


def test_up_refuses_a_level_of_logs_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSULA_LOG_LEVEL", "loud")
    told = insula("up")
    assert (told.exit_code, type(told.exception)) == (1, SystemExit)
    assert "INSULA_LOG_LEVEL: 'loud' is none of debug, info, warning, error" in told.output


def test_a_migration_that_cannot_be_made_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSULA_OWNER_DATABASE_URL", ADDRESSES["owner_database_url"])
    told = insula("migrate")
    assert (told.exit_code, type(told.exception)) == (1, SystemExit)
    assert told.output.count("\n") == 1

    async def refused(_url: str, revision: str, *, everything: bool) -> None:
        assert not everything
        raise provision.RevisionRefused(f"cannot migrate to {revision}")

    monkeypatch.setattr(provision, "migrate", refused)
    assert insula("migrate", "--", "foo").output == "Error: cannot migrate to foo\n"


def test_provision_names_all_that_is_missing_at_once_and_asks_for_addresses_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = insula("provision")
    assert told.exit_code == 1
    missing = re.findall(r"(?m)^(?:Error: )?INSULA_(\w+) is missing$", told.output)
    assert set(missing) == {name.upper() for name in provision.ADDRESSES}
    for name in set(provision.ADDRESSES) & ADDRESSES.keys():
        monkeypatch.setenv(f"INSULA_{name.upper()}", ADDRESSES[name])
    assert insula("provision").output == "Error: INSULA_ADMIN_DATABASE_URL is missing\n"


def test_nobody_is_asked_for_anything_before_the_demo_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSULA_ENVIRONMENT", "production")
    told = insula("seed")
    assert (told.exit_code, "there is no demo" in told.output, "is missing" in told.output) == (1, True, False)


def test_seed_names_all_that_is_missing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSULA_ENVIRONMENT", "staging")
    told = insula("seed")
    missing = re.findall(r"(?m)^INSULA_(\w+) is missing$", told.output)
    required = {field.name for field in fields(Settings) if field.required}
    needed = required | {"secret_key", "identity_database_url", "owner_database_url"}
    assert set(missing) == {name.upper() for name in needed}


def test_provision_says_which_addresses_lack_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        **ADDRESSES,
        "admin_database_url": "postgresql://postgres:word@127.0.0.1:1/postgres",
        "owner_database_url": "postgresql://postgres:4@127.0.0.1:1/insula",
        "platform_database_url": "postgresql://app_platform@127.0.0.1:1/insula",
    }
    describe(monkeypatch, **given)
    told = insula("provision")
    assert told.output.splitlines() == [
        "Error: INSULA_OWNER_DATABASE_URL gives no password for app_migrator",
        "INSULA_PLATFORM_DATABASE_URL gives no password for app_platform",
    ]


def test_a_superusers_address_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    describe(monkeypatch, **ADDRESSES)
    assert "INSULA_ADMIN_DATABASE_URL is missing" in insula("provision").output
    (tmp_path / "admin").write_text("postgresql://postgres:word@127.0.0.1:1/postgres\n")
    monkeypatch.setenv("INSULA_ADMIN_DATABASE_URL_FILE", str(tmp_path / "admin"))
    assert "no connection to PostgreSQL at 127.0.0.1:1/postgres as postgres" in insula("provision").output


@pytest.mark.parametrize("command", [("api",), ("worker",), ("migrate",), ("provision",), ("seed",), ("rotate", "pepper"),
                                     ("operator", "list"), ("operator", "add", "ada@example.com")])  # fmt: skip
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("127.0.0.1:1", "Connect call failed|Connection refused"),
        ("no-such-host.invalid", "Name or service not known|Temporary failure in name resolution"),
    ],
)
def test_a_server_that_is_not_there_is_named_in_a_line_without_passwords(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], wrong: str, said: str
) -> None:
    urls = {name: url.replace("127.0.0.1:1", wrong) for name, url in ADDRESSES.items() if name != "redis_url"}
    urls["admin_database_url"] = f"postgresql://postgres:word@{wrong}/postgres"
    describe(monkeypatch, **ADDRESSES | urls, metrics_port=0)
    told = insula(*command)
    assert (told.exit_code, type(told.exception)) == (1, SystemExit), told.output
    line = told.output.splitlines()[-1]
    assert re.match(r"Error: INSULA_\w*DATABASE_URL: no connection to PostgreSQL at ", line), told.output
    assert wrong in line
    assert re.search(said, line)
    assert not re.search(r":\w+@", line)


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"ENVIRONMENT": "production"}, "door-key", "INSULA_OWNER_DATABASE_URL is missing"),
        ({"OWNER_DATABASE_URL": "postgresql://app_migrator:s3/cret@127.0.0.1:1/x"}, "door-key", "is not %-encoded"),
        ({"OWNER_DATABASE_URL": "postgresql://app_migrator:12/s3cret@127.0.0.1:1/x"}, "door-key", "is not %-encoded"),
        ({"OWNER_DATABASE_URL": "postgresql://app_migrator:[s3cret@127.0.0.1:1/x"}, "door-key", "is not %-encoded"),
        (
            {"OWNER_DATABASE_URL": "postgresql://app_migrator:s3cret@127.0.0.1:1/x"},
            "door-key",
            "no connection to PostgreSQL",
        ),
        (
            {"OWNER_DATABASE_URL": "postgresql://app_migrator:s3cret@127.0.0.1:1/x"},
            "pepper",
            "INSULA_SECRET_KEY is missing",
        ),
        (
            {"OWNER_DATABASE_URL": "postgresql://app_migrator:s3cret@127.0.0.1:1/x", "SECRET_KEY": "c2hvcnQ="},
            "master-key",
            "INSULA_SECRET_KEY: at least 32 bytes",
        ),
        (
            {
                "OWNER_DATABASE_URL": "postgresql://app_migrator:s3cret@127.0.0.1:1/x",
                "SECRET_KEY": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=",
            },
            "data-keys",
            "no connection to PostgreSQL",
        ),
    ],
)
def test_keys_are_rotated_with_the_owners_address_and_the_master_key_alone(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], key: str, said: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"INSULA_{name}", value)
    told = insula("rotate", key)
    assert told.exit_code == 1
    assert said in told.output, told.output
    assert "cret" not in told.output.replace("SECRET", "")


def test_there_is_no_demo_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"environment": "production", "base_url": "https://app.example.com", "smtp_tls": "tls"}
    describe(monkeypatch, **ADDRESSES, **changes)
    told = insula("seed")
    assert told.exit_code == 1
    assert "there is no demo where INSULA_ENVIRONMENT is production" in told.output


def test_up_says_what_is_wrong_with_its_folder_and_what_it_does_not_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("INSULA_HOME", str(tmp_path / "file"))
    told = insula("up")
    assert (told.exit_code, type(told.exception)) == (1, SystemExit)
    assert "INSULA_HOME: no folder can be made at" in told.output
