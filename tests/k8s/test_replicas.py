"""Reads on the standbys: the component gives the API an address and a way, and nobody else either."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from msgspec.structs import fields

from insula.settings import Settings, load
from tests.k8s.rendering import (
    RENDERED,
    REPLICAS,
    ROOT,
    Manifest,
    named,
    of_kind,
    one,
    pod,
    rendered,
    selects,
    workloads,
)
from tests.k8s.test_manifests import environment, mounted

pytestmark = pytest.mark.peers

POOLER = "insula-pooler-ro"
MADE = {"NetworkPolicy insula/api-to-replicas", "NetworkPolicy insula-data/replicas-from-api"}
CHANGED = {"Deployment insula/api", "ExternalSecret insula/insula-app-rw", f"Pooler insula-data/{POOLER}"}


def policies(manifests: list[Manifest], namespace: str, way: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """What the policies of a namespace allow pods with these labels, one way (``ingress`` or ``egress``)."""
    return [
        rule
        for policy in of_kind(manifests, "NetworkPolicy")
        if policy["metadata"]["namespace"] == namespace and selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get(way, [])
    ]


def lead_to(rules: list[dict[str, Any]], way: str, namespace: str, labels: dict[str, str]) -> bool:
    """Whether a rule names pods with these labels in this namespace at PostgreSQL's port."""
    return any(
        selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
        and selects(peer["podSelector"], labels)
        and 5432 in [port["port"] for port in rule["ports"]]
        for rule in rules
        for peer in rule.get(way, [])
        if {"namespaceSelector", "podSelector"} <= peer.keys()
    )


def labels_of(workload: Manifest) -> dict[str, str]:
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def reach_the_pooler(manifests: list[Manifest]) -> set[str]:
    """Who of the program's pods is let out to the read-only pooler, and let in there."""
    pooler, found = {"cnpg.io/poolerName": POOLER}, set()
    for workload in workloads(manifests):
        if workload["metadata"]["namespace"] != "insula":
            continue
        out = policies(manifests, "insula", "egress", labels_of(workload))
        inward = policies(manifests, "insula-data", "ingress", pooler)
        ways = lead_to(out, "to", "insula-data", pooler), lead_to(inward, "from", "insula", labels_of(workload))
        assert ways[0] is ways[1], named(workload)
        found |= {workload["metadata"]["name"]} if all(ways) else set()
    return found


def test_the_api_and_nobody_else_has_the_address_and_the_way(tmp_path: Path) -> None:
    manifests = rendered(REPLICAS)
    ours = {
        each["metadata"]["name"]: each for each in workloads(manifests) if each["metadata"]["namespace"] == "insula"
    }
    assert {name for name, each in ours.items() if "replica_database_url" in mounted(each)} == {"api"}
    assert {name for name, each in ours.items() if "REPLICA" in str(pod(each))} == {"api"}
    assert load(environment(manifests, ours["api"], tmp_path)).replica_database_url is not None
    assert reach_the_pooler(manifests) == {"api"}


def test_the_address_is_that_of_the_pooler_it_may_reach() -> None:
    manifests = rendered(REPLICAS)
    made = one(manifests, "ExternalSecret", "insula-app-rw")["spec"]["target"]["template"]["data"]
    address, primary = (
        urlsplit(made[key].replace("{{ .password | urlquery }}", "word")) for key in ("replica_url", "url")
    )
    assert address.hostname == f"{POOLER}.insula-data.svc"
    assert address._replace(netloc="") == primary._replace(netloc="")
    assert (address.username, address.password, address.port) == (primary.username, primary.password, primary.port)
    (asked,) = [
        source["secret"]
        for volume in pod(one(manifests, "Deployment", "api"))["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if {"path": "replica_database_url", "key": "replica_url"} in source["secret"]["items"]
    ]
    assert asked["name"] == "insula-app-rw"
    assert one(manifests, "Pooler", POOLER)["spec"]["type"] == "ro"


@pytest.mark.parametrize("folder", [folder for folder in RENDERED if folder != REPLICAS])
def test_without_the_component_nobody_has_either(folder: str) -> None:
    manifests = rendered(folder)
    assert "replica_database_url" not in yaml.safe_dump_all(manifests).lower()
    assert reach_the_pooler(manifests) == set()


def test_the_component_changes_what_it_says_and_nothing_else() -> None:
    before, after = ({named(each): each for each in rendered(folder)} for folder in ("overlays/production", REPLICAS))
    assert after.keys() - before.keys() == MADE
    assert {name for name in before if before[name] != after.get(name)} == CHANGED


def test_the_poolers_leave_one_server_connections_whichever_it_is() -> None:
    manifests = rendered(REPLICAS)
    (cluster,) = of_kind(manifests, "Cluster")
    held = 0
    for pooler in (each["spec"] for each in of_kind(manifests, "Pooler")):
        logins = 1 if pooler["type"] == "ro" else 3
        held += logins * pooler["instances"] * int(pooler["pgbouncer"]["parameters"]["default_pool_size"])
    assert held < 0.85 * int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_one_pooler_takes_the_connections_of_all_pods() -> None:
    manifests = rendered(REPLICAS)
    most = one(manifests, "HorizontalPodAutoscaler", "api")["spec"]["maxReplicas"]
    size = next(field.default for field in fields(Settings) if field.name == "pool_size")
    pooler = one(manifests, "Pooler", POOLER)["spec"]["pgbouncer"]["parameters"]
    assert most * size <= int(pooler["max_client_conn"])


def test_nobody_waits_for_a_standby_that_is_away() -> None:
    pooler = one(rendered(REPLICAS), "Pooler", POOLER)["spec"]["pgbouncer"]
    assert pooler["poolMode"] == "transaction"
    assert int(pooler["parameters"]["max_prepared_statements"]) > 0
    for wait in ("query_wait_timeout", "server_connect_timeout", "server_login_retry"):
        assert int(pooler["parameters"][wait]) <= 2


def test_the_readme_and_the_capacity_model_speak_of_it() -> None:
    assert "(components/replicas)" in (ROOT / "k8s" / "README.md").read_text()
    assert "(../k8s/components/replicas)" in (ROOT / "deploy" / "CAPACITY.md").read_text()
