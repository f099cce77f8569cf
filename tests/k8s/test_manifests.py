"""The manifests and the program agree, and programs of others find nothing."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from insula.settings import Settings, load, load_owner_database_url
from tests.authority import Authority
from tests.k8s.readers import ALLOWED, checkov_complaints
from tests.k8s.rendering import (
    RENDERED,
    REPLICAS,
    ROOT,
    Manifest,
    containers,
    named,
    of_kind,
    one,
    pod,
    render,
    rendered,
    workloads,
)
from tests.k8s.test_dashboards import boards

pytestmark = pytest.mark.peers

README = (ROOT / "k8s" / "README.md").read_text()
SECRETS = {
    "secret_key": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=",
    "database_url": "postgresql://app_rw:word@db/insula?sslmode=verify-full&sslrootcert=/run/secrets/tls/ca.crt",
    "replica_database_url": "postgresql://app_rw:word@standby/insula?sslmode=verify-full&sslrootcert=/run/secrets/tls/ca.crt",
    "identity_database_url": "postgresql://app_identity:word@db/insula?sslmode=verify-full&sslrootcert=/run/secrets/tls/ca.crt",
    "platform_database_url": "postgresql://app_platform:word@db/insula?sslmode=verify-full&sslrootcert=/run/secrets/tls/ca.crt",
    "owner_database_url": "postgresql://app_migrator:word@db/insula?sslmode=verify-full&sslrootcert=/run/secrets/tls/ca.crt",
    "redis_url": "rediss://:word@cache?ssl_ca_certs=/run/secrets/tls/ca.crt",
    "jobs_redis_url": "rediss://:word@redis?ssl_ca_certs=/run/secrets/tls/ca.crt",
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
    chain, key = Authority(folder).certificate("api.insula.svc")
    chain.rename(folder / "tls.crt")
    key.rename(folder / "tls.key")
    for mount in [each["mountPath"] for each in container["volumeMounts"] if each["name"] in {"secrets", "tls"}]:
        found = {name: value.replace(mount, str(folder)) for name, value in found.items()}
    return found


def mounted(workload: Manifest) -> set[str]:
    """The secrets that a workload's pods hold, by the names of their files."""
    (volume,) = [each for each in pod(workload)["volumes"] if each["name"] == "secrets"]
    return {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}


@pytest.mark.parametrize("folder", RENDERED)
@pytest.mark.parametrize("name", ["api", "worker"])
def test_the_program_accepts_the_settings_it_is_given(name: str, folder: str, tmp_path: Path) -> None:
    manifests = rendered(folder)
    found = environment(manifests, one(manifests, "Deployment", name), tmp_path)
    assert (load(found).identity_database_url is None) is (name == "worker"), "which signs nobody in"
    known = {f"INSULA_{each.upper()}{end}" for each in Settings.__struct_fields__ for end in ("", "_FILE")}
    known.add("OTEL_EXPORTER_OTLP_CERTIFICATE")  # the exporter's own
    assert found.keys() <= known


@pytest.mark.parametrize("folder", RENDERED)
def test_each_process_holds_the_logins_that_it_uses_and_no_other(folder: str, tmp_path: Path) -> None:
    manifests = rendered(folder)
    ours = {
        each["metadata"]["name"]: each for each in workloads(manifests) if each["metadata"]["namespace"] == "insula"
    }
    held = {name: {path for path in mounted(ours[name]) if "url" in path} for name in ("api", "worker", "migrate")}
    more = {"replica_database_url"} if folder == REPLICAS else set()
    assert held == {
        "api": {"database_url", "identity_database_url", "platform_database_url", "redis_url", "jobs_redis_url"} | more,
        "worker": {"database_url", "platform_database_url", "jobs_redis_url"},
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


@pytest.mark.parametrize("folder", ["overlays/dev", "overlays/production"])
def test_every_secret_that_is_asked_for_is_made(folder: str) -> None:
    manifests = rendered(folder)
    made = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in of_kind(manifests, "Secret")}
    made |= {
        (each["metadata"]["namespace"], each["spec"]["target"]["name"]) for each in of_kind(manifests, "ExternalSecret")
    }
    made |= {
        (each["metadata"]["namespace"], each["spec"]["secretName"]) for each in of_kind(manifests, "Certificate")
    } - {("cert-manager", "insula-inside"), ("insula", "insula-tls")}  # the authority's and the gateway's
    asked = {
        (workload["metadata"]["namespace"], source["secret"]["name"])
        for workload in workloads(manifests)
        for volume in pod(workload)["volumes"]
        for source in [*volume.get("projected", {}).get("sources", []), {"secret": secret_of(volume)}]
        if source["secret"]
    }
    (cluster,) = of_kind(manifests, "Cluster")
    asked |= {("insula-data", each["passwordSecret"]["name"]) for each in cluster["spec"]["managed"]["roles"][1:]}
    asked |= {("insula-data", name) for name in cluster["spec"].get("certificates", {}).values()}
    for store in of_kind(manifests, "ObjectStore"):
        asked |= {("insula-data", each["name"]) for each in store["spec"]["configuration"]["s3Credentials"].values()}
    assert asked == made


def secret_of(volume: dict[str, Any]) -> dict[str, str]:
    """The Secret that is a volume by itself."""
    return {"name": volume["secret"]["secretName"]} if "secret" in volume else {}


@pytest.mark.parametrize("folder", ["overlays/dev", "overlays/production"])
def test_the_poolers_together_leave_the_server_connections(folder: str) -> None:
    manifests = rendered(folder)
    (cluster,) = of_kind(manifests, "Cluster")
    pooler = one(manifests, "Pooler", "insula-pooler-rw")["spec"]
    assert pooler["pgbouncer"]["poolMode"] == "transaction"
    held = 3 * pooler["instances"] * int(pooler["pgbouncer"]["parameters"]["default_pool_size"])
    assert held < 0.75 * int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_the_alerts_are_those_that_are_proven() -> None:
    proven = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
    ours = one(rendered("overlays/production"), "PrometheusRule", "insula")["spec"]["groups"]
    assert [each for each in ours if each["name"] != "cloudnative-pg"] == [
        each for each in proven if each["name"] != "postgres"
    ]


def test_a_cluster_gets_the_dashboards_that_are_proven() -> None:
    made = one(rendered("overlays/production"), "ConfigMap", "insula-dashboards")
    assert {name: json.loads(text) for name, text in made["data"].items()} == boards()


def test_haproxy_reads_the_way_to_the_master(tmp_path: Path) -> None:
    proxy = ROOT / "k8s" / "components" / "redis" / "haproxy.cfg"
    text = proxy.read_text()
    assert "/run/secrets/tls/ca.crt" in text
    changed = tmp_path / "haproxy.cfg"
    changed.write_text(text.replace("/run/secrets/tls/ca.crt", str(Authority(tmp_path).file)))
    read = subprocess.run(["haproxy", "-c", "-f", str(changed)], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr


def test_the_readme_applies_what_is_there() -> None:
    named = re.findall(r"kubectl apply -[fk] ([\w./-]+)", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_makes_operators_and_keys_by_a_job_like_the_migrations(tmp_path: Path) -> None:
    (operator, door_key, pepper), migration = jobs_like_the_migrations(tmp_path)
    for job, name, args in (
        (operator, "operator", ["operator", "add", "ada@example.com"]),
        (door_key, "rotate", ["rotate", "door-key"]),
        (pepper, "rotate", ["rotate", "pepper"]),
    ):
        assert pod(job)["containers"][0].pop("args") == args
        assert job["metadata"].pop("name") == name
    del pod(migration)["containers"][0]["args"], migration["metadata"]["name"]
    assert operator == door_key == migration
    place = pod(pepper)["containers"][0]["env"].pop(0)
    assert place == {"name": "INSULA_SECRET_KEY_FILE", "value": "/run/secrets/insula/secret_key"}
    (volume,) = [volume for volume in pod(pepper)["volumes"] if volume["name"] == "secrets"]
    assert volume["projected"]["sources"].pop(0) == {"secret": {"name": "insula-key"}}
    assert pepper == migration


def jobs_like_the_migrations(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What the README's commands make of the migration's Job, and that Job itself."""
    render("overlays/production", "-o", str(folder))
    made, rendered = [], ""
    for command, rendered in re.findall(r"(?ms)^ *(sed .*?)\s*\\?\n\s+rendered/(\S+) \| kubectl create", README):
        run = subprocess.run(["sh", "-c", f"{command} {rendered}"], cwd=folder, capture_output=True, check=True)
        made.append(yaml.safe_load(run.stdout))
    return made, yaml.safe_load((folder / rendered).read_text())


def images(manifests: list[Manifest]) -> set[str]:
    """Of others, and not of the program."""
    return {each["image"] for _, _, each in containers(manifests) if not each["image"].startswith("insula:")}


def test_the_readme_names_every_image_that_moves() -> None:
    named = set(re.findall(r"(?m)^\| `([\w./-]+:[\w.-]+)` \|", README))
    assert named == {image for folder in RENDERED for image in images(rendered(folder))}


def test_the_readme_fixes_each_of_them_by_digest(tmp_path: Path) -> None:
    (told,) = re.findall(r"(?m)^kustomize edit set image (.+)$", README)
    fixed = re.findall(r"(\S+)=\1@sha256:\.\.\.", told)
    assert len(fixed) == len(told.split())
    for part in ("k8s", "deploy"):
        shutil.copytree(ROOT / part, tmp_path / part)
    overlay = tmp_path / "k8s" / "overlays" / "production" / "kustomization.yaml"
    text = yaml.safe_load(overlay.read_text())
    text["images"] += [{"name": name, "digest": f"sha256:{'0' * 64}"} for name in fixed]
    overlay.write_text(yaml.safe_dump(text))
    changed = images(list(yaml.safe_load_all(render(str(overlay.parent)))))
    assert {image.partition("@")[0] for image in changed if "@sha256:" in image} == set(fixed)
    assert [image for image in changed if "@sha256:" not in image] == []


def test_the_readme_says_which_checks_are_left_out() -> None:
    assert set(re.findall(r"CKV_\w+", README)) == ALLOWED.keys()
