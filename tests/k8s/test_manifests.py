"""The manifests and the program agree, and programs of others find nothing."""

from pathlib import Path

import pytest

from insula.settings import Settings, load, load_owner_database_url
from tests.k8s.readers import checkov_complaints
from tests.k8s.rendering import RENDERED, Manifest, named, of_kind, one, pod, rendered, workloads

pytestmark = pytest.mark.peers

SECRETS = {
    "secret_key": "A" * 43 + "=",
    "database_url": "postgresql://app_rw:word@db/insula",
    "identity_database_url": "postgresql://app_identity:word@db/insula",
    "platform_database_url": "postgresql://app_platform:word@db/insula",
    "owner_database_url": "postgresql://app_migrator:word@db/insula",
    "redis_url": "redis://:word@redis",
    "smtp_username": "insula",
    "smtp_password": "word",
}


def environment(manifests: list[Manifest], workload: Manifest, folder: Path) -> dict[str, str]:
    """What the process of this workload finds, with its mounted secrets in ``folder``."""
    (container,) = pod(workload)["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= one(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    found |= {each["name"]: each["value"] for each in container.get("env", [])}
    for path in mounted(workload):
        (folder / path).write_text(SECRETS[path])
    (mount,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "secrets"]
    return {name: value.replace(mount, str(folder)) for name, value in found.items()}


def mounted(workload: Manifest) -> set[str]:
    """The secrets that a workload's pods hold, by the names of their files."""
    (volume,) = [each for each in pod(workload)["volumes"] if each["name"] == "secrets"]
    return {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}


@pytest.mark.parametrize("folder", RENDERED)
@pytest.mark.parametrize("name", ["api", "worker"])
def test_the_program_accepts_the_settings_it_is_given(name: str, folder: str, tmp_path: Path) -> None:
    manifests = rendered(folder)
    found = environment(manifests, one(manifests, "Deployment", name), tmp_path)
    assert isinstance(load(found), Settings)
    known = {f"INSULA_{each.upper()}{end}" for each in Settings.__struct_fields__ for end in ("", "_FILE")}
    assert found.keys() <= known


@pytest.mark.parametrize("folder", RENDERED)
def test_each_process_holds_the_logins_that_it_uses_and_no_other(folder: str, tmp_path: Path) -> None:
    manifests = rendered(folder)
    ours = {
        each["metadata"]["name"]: each for each in workloads(manifests) if each["metadata"]["namespace"] == "insula"
    }
    held = {name: {path for path in mounted(ours[name]) if "url" in path} for name in ("api", "worker", "migrate")}
    assert held == {
        "api": {"database_url", "identity_database_url", "platform_database_url", "redis_url"},
        "worker": {"database_url", "platform_database_url", "redis_url"},
        "migrate": {"owner_database_url"},
    }
    assert load_owner_database_url(environment(manifests, ours["migrate"], tmp_path)) == SECRETS["owner_database_url"]


@pytest.mark.parametrize("folder", RENDERED)
def test_nothing_is_said_twice(folder: str) -> None:
    names = [named(each) for each in rendered(folder)]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("folder", RENDERED)
def test_checkov_finds_nothing(folder: str) -> None:
    manifests = rendered(folder)
    passed, failed = checkov_complaints(manifests)
    assert failed == []
    assert passed > 50 * len(of_kind(manifests, "Deployment"))
