"""The compose file: it parses, speaks of commands and settings that exist, and gives nobody more than they need."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from msgspec.structs import fields

from insula.__main__ import main
from insula.provision import ADDRESSES
from insula.settings import Settings, load, load_urls
from insula.unsafe import PREFIX

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
FILE: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
END_BY_THEMSELVES = {"provision", "migrate"}
NAMES = {PREFIX + field.name.upper() for field in fields(Settings)}

every_service = pytest.mark.parametrize("name", SERVICES)
our_service = pytest.mark.parametrize("name", OURS)


def secrets_of(service: dict[str, Any]) -> set[str]:
    return set(service.get("secrets", ()))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after `./prepare`."""
    folder = tmp_path_factory.mktemp("compose")
    for name in ("prepare", "example.env"):
        (folder / name).write_bytes((COMPOSE / name).read_bytes())
    subprocess.run(["sh", "./prepare"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def filled(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the mail server's password, which is nobody's to make."""
    folder = tmp_path_factory.mktemp("filled") / "compose"
    shutil.copytree(prepared, folder)
    (folder / "secrets" / "smtp_password").write_text("word")
    return folder


def test_it_starts_all_there_is() -> None:
    assert OURS.keys() == {"provision", "migrate", "api", "worker"}
    assert SERVICES.keys() == OURS.keys() | {"postgres", "redis", "caddy"}


def test_the_readme_names_every_image_whose_tag_moves() -> None:
    readme = (COMPOSE.parent / "README.md").read_text()
    (base,) = re.findall(r"(?m)^ARG PYTHON_IMAGE=(\S+)$", (COMPOSE.parents[1] / "Dockerfile").read_text())
    others = {service["image"] for service in SERVICES.values() if "build" not in service}
    assert [image for image in sorted(others | {base}) if f"`{image}`" not in readme] == []


@our_service
def test_its_command_is_one_of_the_programs(name: str) -> None:
    assert OURS[name]["command"][0] in main.commands
    assert OURS[name]["command"][0] == name


@our_service
def test_every_variable_is_a_setting(name: str) -> None:
    variables = {variable.removesuffix("_FILE") for variable in OURS[name]["environment"]}
    assert variables
    assert variables <= NAMES


@every_service
def test_a_secret_that_is_named_is_declared_and_mounted(name: str) -> None:
    service = SERVICES[name]
    text = yaml.safe_dump({"environment": service.get("environment", {}), "command": service.get("command", "")})
    assert set(re.findall(r"/run/secrets/(\w+)", text)) == secrets_of(service)
    assert secrets_of(service) <= FILE["secrets"].keys()


def test_every_declared_secret_is_somebodys_and_made_by_prepare(prepared: Path) -> None:
    assert set().union(*map(secrets_of, SERVICES.values())) == FILE["secrets"].keys()
    files = {Path(secret["file"]).name for secret in FILE["secrets"].values()}
    assert files - {path.name for path in (prepared / "secrets").iterdir()} == {"smtp_password"}


def test_what_serves_the_world_holds_no_password_of_the_database() -> None:
    strong = {"owner_database_url", "admin_database_url", "postgres_password"}
    for name in ("api", "worker", "caddy", "redis"):
        assert not secrets_of(SERVICES[name]) & strong, name


def test_each_holds_the_secrets_that_it_uses_and_no_other() -> None:
    running = {"secret_key", "database_url", "platform_database_url", "redis_url"}
    logins = {"database_url", "identity_database_url", "platform_database_url", "owner_database_url"}
    assert {name: secrets_of(service) for name, service in OURS.items()} == {
        "api": running | {"identity_database_url"},
        "worker": running | {"smtp_password"},
        "provision": logins | {"admin_database_url"},
        "migrate": {"owner_database_url"},
    }


@every_service
def test_it_is_contained(name: str) -> None:
    service = SERVICES[name]
    user, _, group = service["user"].partition(":")
    assert int(user) > 0 < int(group)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else [])
    assert {"mem_limit", "cpus", "pids_limit", "logging"} <= service.keys()
    assert not service.keys() & {"privileged", "network_mode", "pid", "ipc", "devices"}
    assert ":latest" not in service["image"]


@every_service
def test_it_says_whether_it_is_well(name: str) -> None:
    if name in END_BY_THEMSELVES:
        assert SERVICES[name]["restart"] == "no"
        assert "healthcheck" not in SERVICES[name]
    else:
        assert SERVICES[name]["restart"] == "unless-stopped"
        assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@every_service
def test_it_waits_for_a_state_that_the_other_reaches(name: str) -> None:
    for other, awaited in SERVICES[name].get("depends_on", {}).items():
        ends = other in END_BY_THEMSELVES
        assert awaited["condition"] == ("service_completed_successfully" if ends else "service_healthy")


def test_only_caddy_is_reached_from_outside_and_nobody_outside_from_the_database() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["caddy"]
    assert FILE["networks"]["inside"] == FILE["networks"]["edge"] == {"internal": True}
    assert SERVICES["api"]["networks"] == ["inside", "edge"], "who holds the secrets reaches nobody outside"
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["inside"]
    assert "inside" not in SERVICES["caddy"]["networks"]


def test_the_network_that_is_trusted_is_one_hosts_own() -> None:
    assert {network.get("driver", "bridge") for network in FILE["networks"].values()} == {"bridge"}
    assert not [network for network in FILE["networks"].values() if network.keys() & {"external", "attachable"}]


def test_there_is_time_to_drain() -> None:
    drain = next(field.default for field in fields(Settings) if field.name == "drain_seconds")
    for name in ("api", "worker", "caddy"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > drain + 5


def environment_of(name: str, folder: Path) -> dict[str, str]:
    """What the process of a service starts with."""
    given = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines() if line[:1] != "#")
    environment = {}
    for variable, value in OURS[name]["environment"].items():
        value = re.sub(r"\$\{(\w+)[^}]*\}", lambda found: given[found[1]], str(value))
        environment[variable] = value.replace("/run/secrets", str(folder / "secrets"))
    return environment


@pytest.mark.parametrize("name", ["api", "worker"])
def test_api_and_workers_start_with_what_they_are_given(name: str, filled: Path) -> None:
    settings = load(environment_of(name, filled))
    assert (settings.environment, settings.trusted_network) == ("production", True)
    assert (settings.identity_database_url is None) is (name == "worker"), "which signs nobody in"
    assert (settings.smtp_username, settings.smtp_password) == ((None, None) if name == "api" else ("insula", "word"))
    word = urlsplit(settings.redis_url).password
    assert f"requirepass {word}\n" in (filled / "secrets" / "redis_conf").read_text()


def test_what_provision_is_given_are_the_logins_that_prepare_makes(filled: Path) -> None:
    urls = load_urls(ADDRESSES, environment_of("provision", filled))
    superuser = urlsplit(urls.pop("admin_database_url"))
    assert len({urlsplit(url).password for url in urls.values()}) == 4
    assert {urlsplit(url).hostname for url in urls.values()} == {"postgres"}
    assert superuser.password == (filled / "secrets" / "postgres_password").read_text().strip()


def test_prepare_keeps_what_is_there_and_hides_it(prepared: Path) -> None:
    before = {path.name: path.read_bytes() for path in (prepared / "secrets").iterdir()}
    subprocess.run(["sh", "./prepare"], cwd=prepared, check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (prepared / "secrets").iterdir()} == before
    assert (prepared / "secrets").stat().st_mode & 0o777 == 0o700


def test_every_variable_that_deploy_speaks_of_is_a_setting_or_the_wrappers() -> None:
    spoken = {
        name if name in NAMES else name.removesuffix("_FILE")
        for path in COMPOSE.parent.rglob("*")
        if path.is_file()
        for name in re.findall(r"\bINSULA_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    assert spoken <= NAMES | {"INSULA_PYTHON"}
