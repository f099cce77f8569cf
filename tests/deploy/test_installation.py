"""The README's way to an installation with systemd: what its commands make is what the units and the program take."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from insula.settings import load
from tests.deploy.test_systemd import DEPLOY, FOLDER, SECRETS, TIMERS, UNITS, directives

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

BLOCKS = re.findall(r"(?ms)^```sh\n(.*?)^```", (DEPLOY / "README.md").read_text())


def block(holding: str) -> str:
    (found,) = (text for text in BLOCKS if holding in text)
    return found


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A folder in place of /etc/insula, after the commands that fill it."""
    folder = tmp_path / "etc"
    fill(folder)
    return folder


def fill(folder: Path) -> str:
    commands = block("openssl rand -base64 32 >secret_key")
    assert "/etc/insula" in commands
    commands = commands.replace("/etc/insula", str(folder)).replace("/opt/insula", str(DEPLOY.parent))
    return subprocess.run(["sh", "-c", commands], capture_output=True, text=True, check=False).stderr


def test_every_secret_that_a_unit_is_handed_is_made_and_hidden(etc: Path) -> None:
    handed = {
        credential.partition(":")[0] for text in UNITS.values() for credential in directives(text)["LoadCredential"]
    }
    made = {path.name for path in etc.iterdir()} - {"insula.env"}
    assert made == handed == SECRETS.keys()
    assert etc.stat().st_mode & 0o777 == 0o700
    assert {(etc / name).stat().st_mode & 0o777 for name in made} == {0o600}


def test_a_second_time_keeps_what_is_there(etc: Path) -> None:
    (etc / "insula.env").write_text("INSULA_HOST=::1\n")
    before = {path.name: path.read_bytes() for path in etc.iterdir()}
    assert "secret_key" in fill(etc)
    assert {path.name: path.read_bytes() for path in etc.iterdir()} == before


def test_by_hand_the_program_is_given_every_secret(etc: Path, tmp_path: Path) -> None:
    (etc / "admin_database_url").write_text("postgresql://postgres:word@127.0.0.1:5432/postgres\n")
    for left in ("secret_key~", ".redis_url.swp", "database_url.bak", "jobs_redis_url-bulk", "worker-11.env"):
        (etc / left).write_text("left by an editor")
    said = by_hand(etc, tmp_path, "doctor")
    assert said.pop("ARGUMENTS") == "doctor"
    settings = load(said, also=("owner_database_url", "admin_database_url"))
    assert settings.environment == "production"
    assert (settings.smtp_password, settings.host, settings.jobs_redis_url) == ("", "127.0.0.1", None)


def test_by_hand_a_value_may_hold_spaces(etc: Path, tmp_path: Path) -> None:
    with (etc / "insula.env").open("a") as file:
        file.write('INSULA_MAIL_FROM_NAME="The Island"\n')
    assert by_hand(etc, tmp_path, "doctor")["INSULA_MAIL_FROM_NAME"] == "The Island"


def by_hand(etc: Path, folder: Path, command: str, **more: str) -> dict[str, str]:
    """What the program would see as root calls it, with more in the environment."""
    program = folder / "program"
    program.write_text('#!/bin/sh\nenv | grep ^INSULA_\necho "ARGUMENTS=$*"\n')
    program.chmod(0o755)
    text = (FOLDER / "insula").read_text()
    for ours, other in (("/etc/insula", etc), ("/opt/insula/insula", program)):
        assert ours in text
        text = text.replace(ours, str(other))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")} | more
    said = subprocess.run(["sh", "-c", text, "insula", command], env=clean, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in said.stdout.splitlines())


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """In place of /etc/systemd/system: more processes are enabled than the README's, one is not ours."""
    folder = tmp_path / "system"
    wanted = folder / "multi-user.target.wants"
    wanted.mkdir(parents=True)
    for name in ("insula-api@8001", "insula-api@8004", "insula-worker@01", "insula-worker@11", "redis-server"):
        (wanted / f"{name}.service").touch()
    return folder


MUTE = ("systemctl", "curl", "insula", "runuser", "ln", "install")


def told(commands: str, etc: Path, units: Path) -> list[str]:
    """What the commands ask of other programs, in their order."""
    for ours, other in (("/etc/insula", etc), ("/etc/systemd/system", units)):
        commands = commands.replace(ours, str(other))
    tell = "".join(f'{name}() {{ echo "{name} $*"; }}\n' for name in MUTE)
    tell += 'redis_cli() { echo "redis-cli $*"; }\n'
    text = tell + commands.replace("redis-cli ", "redis_cli ")
    done = subprocess.run(["sh", "-euc", text], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_release_restarts_every_process_that_is_enabled(etc: Path, units: Path) -> None:
    said = told(block("/opt/insula-2 /opt/insula\n"), etc, units)
    assert said[0].startswith("ln ")
    assert [line.rpartition(" ")[2] for line in said[1:3]] == [
        "/usr/local/sbin/insula",
        f"{units}/",
    ]  # units may change
    assert said[3:] == [
        "systemctl daemon-reload",
        "systemctl start insula-migrate",
        "systemctl restart insula-worker@01.service insula-worker@11.service",
        "systemctl restart insula-api@8001",
        "curl -sf http://127.0.0.1:8001/readyz",
        "systemctl restart insula-api@8004",
        "curl -sf http://127.0.0.1:8004/readyz",
    ]


def test_after_a_restore_every_redis_is_emptied_and_every_process_starts(etc: Path, units: Path) -> None:
    own_redis(etc, units)
    said = told(block("--type=time"), etc, units)
    password = re.findall(r":(\w{48})@", (etc / "redis_url").read_text())[0]
    assert [line.split()[2] for line in said if line.startswith("redis-cli ")] == [
        "rediss://default:PASSWORD@ADDRESS:6379",
        f"redis://default:{password}@127.0.0.1:6379",
    ]
    assert said[-1] == (
        "systemctl start insula-api@8001.service insula-api@8004.service insula-worker@01.service insula-worker@11.service"
    )


def test_after_a_restore_the_timers_of_backups_wait_again(etc: Path, units: Path) -> None:
    for name, text in TIMERS.items():
        (wanted,) = directives(text)["WantedBy"]
        (units / f"{wanted}.wants" / name).touch()
    said = told(block("--type=time"), etc, units)
    assert set(TIMERS) <= set(said[-1].removeprefix("systemctl start ").split())


def test_a_group_has_a_redis_that_only_its_workers_know(etc: Path, units: Path, tmp_path: Path) -> None:
    said = own_redis(etc, units)
    assert said[-2:] == ["systemctl restart insula-worker@11", "insula doctor"]
    file = etc / "jobs_redis_url-bulk"
    assert file.stat().st_mode & 0o777 == 0o600
    added = directives((units / "insula-worker@11.service.d" / "redis.conf").read_text())
    assert added == {
        "LoadCredential": [f"jobs_redis_url:{file}"],
        "Environment": ["INSULA_JOBS_REDIS_URL_FILE=%d/jobs_redis_url"],
    }
    assert "INSULA_JOBS_REDIS_URL_FILE" not in by_hand(etc, tmp_path, "doctor")
    asked = by_hand(etc, tmp_path, "doctor", INSULA_JOBS_REDIS_URL_FILE=str(file))
    assert load(asked, also=("owner_database_url",)).jobs_redis_url == "rediss://:PASSWORD@ADDRESS:6379"


def own_redis(etc: Path, units: Path) -> list[str]:
    return told(block("jobs_redis_url-bulk"), etc, units)


def test_redis_is_given_the_password_of_its_address(etc: Path) -> None:
    (line,) = (line for line in block("requirepass").splitlines() if line.startswith("sed "))
    command = line.partition(" >>")[0].replace("/etc/insula", str(etc))
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    word = re.fullmatch(r"redis://:(\w{48})@127\.0\.0\.1:6379\n", (etc / "redis_url").read_text())
    assert word
    assert said == f"requirepass {word[1]}\n"


def test_a_second_time_the_backups_keep_their_passphrase(tmp_path: Path) -> None:
    """With another one, all that was backed up before could be read by nobody."""
    commands = block("apt install pgbackrest").replace("/etc/pgbackrest/conf.d", str(tmp_path))
    mute = "".join(f"{name}() {{ :; }}\n" for name in ("apt", "install", "chown"))
    kept = []
    for _ in range(2):
        subprocess.run(["sh", "-c", mute + commands], capture_output=True, check=False)
        kept.append((tmp_path / "secret.conf").read_text())
    assert kept[0] == kept[1]


def test_what_watches_is_for_this_machine_alone() -> None:
    """As Debian starts them, each listens on every address, and an Alertmanager looks for others of its kind."""
    commands = block("prometheus-alertmanager")
    assert re.findall(r"--web\.listen-address=(\S+?)'?(?= |\n|')", commands) == [
        "127.0.0.1:9187",
        "127.0.0.1:9090",
        "127.0.0.1:9093",
    ]
    assert re.search(r"--cluster\.listen-address='.* >>/etc/default/prometheus-alertmanager", commands)
    assert "--no-install-recommends" in commands, "or node_exporter comes along"
    asked = re.findall(r"(?m)^systemctl ([\w-]+)", commands)
    assert asked == ["reset-failed", "restart"], "or the exporter, failing since it was unpacked, is refused a start"
    assert "restart prometheus prometheus-alertmanager prometheus-postgres-exporter\n" in commands


def test_every_path_of_ours_that_it_names_is_there() -> None:
    named = {path for text in BLOCKS for path in re.findall(r"/opt/insula/(deploy/[\w./*-]+)", text)}
    assert len(named) > 5
    for path in named:
        assert list(DEPLOY.parent.glob(path)), path
