"""The units: they start commands that exist with secrets as files, leave time to drain, and systemd finds them well guarded."""

import inspect
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from msgspec.structs import fields

from insula.__main__ import main
from insula.core import passwords
from insula.settings import Settings, load, load_owner_database_url

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "systemd"
UNITS = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.service"))}
TIMERS = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.timer"))}
STAYING = {"insula-api@.service": "8001", "insula-worker@.service": "01"}
BACKUP = "insula-backup@.service"
INSTANCES = STAYING | {BACKUP: "full"}
PGBACKREST = (DEPLOY / "backups" / "pgbackrest.conf").read_text()
SECRETS = {
    "secret_key": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=",
    "database_url": "postgresql://app_rw:1@127.0.0.1/insula",
    "identity_database_url": "postgresql://app_identity:2@127.0.0.1/insula",
    "platform_database_url": "postgresql://app_platform:3@127.0.0.1/insula",
    "owner_database_url": "postgresql://app_migrator:4@127.0.0.1/insula",
    "redis_url": "redis://:5@127.0.0.1",
    "smtp_password": "6",
}
EVERYBODYS = {"secret_key", "database_url", "platform_database_url", "redis_url"}
USED = {
    "insula-api@.service": EVERYBODYS | {"identity_database_url"},
    "insula-worker@.service": EVERYBODYS | {"smtp_password"},
    "insula-migrate.service": {"owner_database_url"},
    BACKUP: set(),
}
"""The secrets that each needs, and no other."""
WORST = 15
"""Tenths of what `systemd-analyze security` may count against a unit; 100 is a service without any protection."""

every_unit = pytest.mark.parametrize("name", UNITS)
every_timer = pytest.mark.parametrize("name", TIMERS)
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def directives(text: str) -> dict[str, list[str]]:
    found = defaultdict(list)
    for key, value in re.findall(r"(?m)^(\w+)=(.*)$", text):
        found[key].append(value)
    return found


def environment(name: str, credentials: Path, instance: str | None = None) -> dict[str, str]:
    """What the process of a unit sees of INSULA_* variables: insula.env, the unit's own, and what its command adds."""
    unit, instance = directives(UNITS[name]), instance or STAYING.get(name, "")
    given = re.findall(r"(?m)^(INSULA_\w+)=(.*)$", (FOLDER / "insula.env").read_text())
    for text in (*unit["Environment"], *unit["ExecStart"]):
        given += re.findall(r"(INSULA_\w+)=(\S+)", text.replace("%i", instance).replace("%d", str(credentials)))
    return dict(given)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    for name, text in SECRETS.items():
        (tmp_path / name).write_text(text + "\n")
    return tmp_path


def test_there_is_one_for_each_part() -> None:
    assert set(UNITS) == {*STAYING, "insula-migrate.service", BACKUP}


@pytest.mark.parametrize("name", [name for name in UNITS if name != BACKUP])
def test_its_command_is_one_of_the_programs(name: str) -> None:
    (start,) = directives(UNITS[name])["ExecStart"]
    command = re.fullmatch(r".*/opt/insula/insula (\w+)", start)
    assert command
    assert command[1] in main.commands
    assert name.startswith(f"insula-{command[1]}")


@every_unit
def test_each_credential_is_handed_over_and_used(name: str) -> None:
    unit = directives(UNITS[name])
    loaded = dict(credential.split(":") for credential in unit["LoadCredential"])
    assert loaded == {credential: f"/etc/insula/{credential}" for credential in loaded}
    handed = [f"INSULA_{credential.upper()}_FILE=%d/{credential}" for credential in loaded]
    assert [line for line in unit["Environment"] if "_FILE=" in line] == handed
    assert loaded.keys() == USED[name]


def test_nothing_that_is_not_used_is_made_up() -> None:
    environment = [line for text in UNITS.values() for line in directives(text)["Environment"]]
    assert [line for line in environment if "_FILE=" not in line] == []


def test_a_worker_may_have_settings_of_its_own_that_win() -> None:
    files = directives(UNITS["insula-worker@.service"])["EnvironmentFile"]
    assert files == ["/etc/insula/insula.env", "-/etc/insula/worker-%i.env"]


def test_only_the_migration_may_change_the_schema() -> None:
    holders = {name for name in UNITS if "owner_database_url" in UNITS[name]}
    assert holders == {"insula-migrate.service"}
    assert directives(UNITS["insula-migrate.service"])["LoadCredential"] == [
        "owner_database_url:/etc/insula/owner_database_url"
    ]


@pytest.mark.parametrize("name", STAYING)
def test_the_program_accepts_what_it_is_given(name: str, credentials: Path) -> None:
    settings = load(environment(name, credentials))
    assert settings.environment == "production"
    assert (settings.identity_database_url is None) is name.startswith("insula-worker"), "which signs nobody in"
    if name.startswith("insula-api"):
        assert (settings.port, settings.metrics_port, settings.trusted_proxies) == (8001, 18001, 1)
    else:
        assert settings.metrics_port == 19201


def test_the_threads_that_hash_passwords_may_stand_back() -> None:
    assert "os.setpriority(" in inspect.getsource(passwords)
    filters = directives(UNITS["insula-api@.service"])["SystemCallFilter"]
    assert filters[-2:] == ["~@privileged @resources", "setpriority"]  # which is one of @resources: the later one wins


def enabled() -> dict[str, list[str]]:
    """The instances of each unit that the README starts."""
    (command,) = re.findall(r"(?m)^systemctl enable --now (insula-api.+)$", (DEPLOY / "README.md").read_text())
    found = defaultdict(list)
    for name, instance in re.findall(r"(insula-\w+@)(\w+)", command):
        found[f"{name}.service"].append(instance)
    return found


def test_prometheus_asks_where_they_listen(credentials: Path) -> None:
    read = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    asked = {job["job_name"]: job["static_configs"][0]["targets"] for job in read["scrape_configs"]}
    assert enabled().keys() == STAYING.keys()
    for name, instances in enabled().items():
        settings = [load(environment(name, credentials, instance)) for instance in instances]
        assert asked[name.removesuffix("@.service")] == [
            f"{each.metrics_host}:{each.metrics_port}" for each in settings
        ]


def test_haproxy_leads_to_where_they_listen(credentials: Path) -> None:
    servers = re.findall(r"(?m)^    server \w+ (\S+)$", (DEPLOY / "haproxy.cfg").read_text())
    settings = [
        load(environment("insula-api@.service", credentials, port)) for port in enabled()["insula-api@.service"]
    ]
    assert servers == [f"{each.host}:{each.port}" for each in settings]


def test_the_migration_accepts_what_it_is_given(credentials: Path) -> None:
    given = environment("insula-migrate.service", credentials)
    assert load_owner_database_url(given) == SECRETS["owner_database_url"]


@pytest.mark.parametrize("name", STAYING)
def test_there_is_time_to_drain_and_no_end_to_starting_again(name: str) -> None:
    unit = directives(UNITS[name])
    drain = next(field.default for field in fields(Settings) if field.name == "drain_seconds")
    assert int(unit["TimeoutStopSec"][0]) > drain + 5
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]


@every_timer
def test_a_timer_makes_a_backup_that_is_told_of(name: str) -> None:
    kind = name.removeprefix("insula-backup@").removesuffix(".timer")
    (start,) = directives(UNITS[BACKUP])["ExecStart"]
    command = start.partition("/usr/bin/pgbackrest ")[2].replace("%i", kind)
    (told,) = re.findall(rf"(?m)^#   pgbackrest {command} +\w+: systemd/(\S+)$", PGBACKREST)
    assert told == name
    assert directives(TIMERS[name])["Persistent"] == ["yes"]


def test_each_night_has_one_backup_and_each_week_a_full_one() -> None:
    days = {name: directives(text)["OnCalendar"] for name, text in TIMERS.items()}
    assert days == {
        "insula-backup@full.timer": ["Sun *-*-* 01:30:00"],
        "insula-backup@incr.timer": ["Mon..Sat *-*-* 01:30:00"],
    }


def test_a_backup_is_made_as_postgres_and_waits_for_the_one_that_runs() -> None:
    unit = directives(UNITS[BACKUP])
    assert (unit["User"], unit["Type"], unit["TimeoutStartSec"]) == (["postgres"], ["oneshot"], ["infinity"])
    assert unit["ExecStart"][0].startswith("/usr/bin/flock /run/insula-backup/lock ")
    assert unit["RuntimeDirectory"] == ["insula-backup"]
    (repository,) = re.findall(r"(?m)^repo1-path=(.+)$", PGBACKREST)
    assert unit["ReadWritePaths"] == [f"{repository} /tmp"]
    assert unit["PrivateTmp"] == [], "pgBackRest's locks are in /tmp"
    assert unit["RemoveIPC"] == [], "it would take away the memory of the server, which has the same user"


def test_the_readme_starts_every_timer() -> None:
    (command,) = re.findall(r"(?m)^systemctl enable --now (insula-backup.+)$", (DEPLOY / "README.md").read_text())
    assert set(command.split()) == TIMERS.keys()


def installed(folder: Path, name: str, text: str) -> Path:
    """The unit as systemd would find it, of a program that is there."""
    (folder / "insula").write_text("#!/bin/sh\n")
    (folder / "insula").chmod(0o755)
    unit = folder / name.replace("@", f"@{INSTANCES.get(name, '')}")
    unit.write_text(text.replace("/opt/insula", str(folder)))
    (folder / name).write_text(unit.read_text())
    return unit


def analysed(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.peers
@systemd
@every_unit
def test_systemd_understands_it(name: str, tmp_path: Path) -> None:
    assert analysed("verify", installed(tmp_path, name, UNITS[name])) == (0, "")
    broken = UNITS[name].replace("UMask=", "UMaks=")
    _, complaint = analysed("verify", installed(tmp_path, name, broken))
    assert "UMaks" in complaint


@pytest.mark.peers
@systemd
@every_timer
def test_systemd_understands_a_timer_and_what_it_starts(name: str, tmp_path: Path) -> None:
    installed(tmp_path, BACKUP, UNITS[BACKUP])
    (tmp_path / name).write_text(TIMERS[name])
    assert analysed("verify", tmp_path / name) == (0, "")
    (tmp_path / name).write_text(TIMERS[name].replace(" *-*-* ", " nightly "))
    _, complaint = analysed("verify", tmp_path / name)
    assert "nightly" in complaint


@pytest.mark.peers
@systemd
@every_unit
def test_systemd_finds_it_well_guarded(name: str, tmp_path: Path) -> None:
    guarded = ("security", "--offline=true", f"--threshold={WORST}", "--no-pager")
    status, table = analysed(*guarded, installed(tmp_path, name, UNITS[name]))
    assert status == 0, table
    open_to_all = UNITS[name].replace("CapabilityBoundingSet=\n", "").replace("PrivateUsers=yes\n", "")
    status, _ = analysed(*guarded, installed(tmp_path, name, open_to_all))
    assert status != 0
