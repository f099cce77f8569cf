"""Backups are encrypted where they lie, and the example of a restore is of this cluster and never writes over it."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPONENTS = Path(__file__).parents[2] / "k8s" / "components"
PLUGIN = "barman-cloud.cloudnative-pg.io"
RESTORE = (COMPONENTS / "backups" / "restore.yaml").read_text(encoding="utf-8")


def read(*path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(COMPONENTS.joinpath(*path).read_text(encoding="utf-8")))


STORE, SCHEDULE = read("backups", "backups.yaml")
(FIRST,) = read("postgres", "cluster.yaml")
(RESTORED,) = read("backups", "restore.yaml")


def archive(cluster: dict[str, Any]) -> dict[str, str]:
    """Where a cluster's own log goes."""
    (plugin,) = [each for each in cluster["spec"]["plugins"] if each["isWALArchiver"]]
    assert plugin["name"] == PLUGIN
    parameters: dict[str, str] = plugin["parameters"]
    return parameters


@pytest.mark.parametrize("part", ["wal", "data"])
def test_log_and_base_backups_are_encrypted(part: str) -> None:
    assert STORE["spec"]["configuration"][part]["encryption"] in {"AES256", "aws:kms"}


def test_a_restore_reads_what_the_first_cluster_wrote() -> None:
    (patch,) = read("backups", "kustomization.yaml")[0]["patches"]
    (change,) = yaml.safe_load(patch["patch"])
    written = archive({"spec": {"plugins": change["value"]}})
    source = RESTORED["spec"]["bootstrap"]["recovery"]["source"]
    (origin,) = [each["plugin"] for each in RESTORED["spec"]["externalClusters"] if each["name"] == source]
    assert origin["name"] == PLUGIN
    # A cluster that says no serverName writes under its own name.
    assert origin["parameters"] == {"serverName": FIRST["metadata"]["name"]} | written
    assert written["barmanObjectName"] == STORE["metadata"]["name"]
    assert SCHEDULE["spec"]["cluster"]["name"] == FIRST["metadata"]["name"]


def test_it_is_another_cluster_and_writes_elsewhere_in_the_same_encrypted_store() -> None:
    assert RESTORED["metadata"]["namespace"] == FIRST["metadata"]["namespace"] == STORE["metadata"]["namespace"]
    assert RESTORED["metadata"]["name"] != FIRST["metadata"]["name"]
    assert archive(RESTORED) == {"barmanObjectName": "insula", "serverName": RESTORED["metadata"]["name"]}


def test_it_has_the_version_the_walls_and_the_sizes_of_the_first() -> None:
    first, restored = FIRST["spec"], RESTORED["spec"]
    for part in ("imageCatalogRef", "storage", "walStorage", "resources", "managed"):
        assert restored[part] == first[part], part
    assert restored["postgresql"] == {name: said for name, said in first["postgresql"].items() if name != "synchronous"}
    recovery = restored["bootstrap"]["recovery"]
    assert {name: recovery[name] for name in ("database", "owner")} == {
        name: first["bootstrap"]["initdb"][name] for name in ("database", "owner")
    }


def test_the_moment_is_to_be_filled_in_and_none_is_there_by_mistake() -> None:
    target = RESTORED["spec"]["bootstrap"]["recovery"]["recoveryTarget"]
    with pytest.raises(ValueError, match="Invalid isoformat"):
        datetime.fromisoformat(target["targetTime"])
    (example,) = re.findall(rf"{target['targetTime']} # such as (\S+);", RESTORE)
    assert datetime.fromisoformat(example).tzinfo is not None


def test_its_pods_are_let_to_the_log_and_to_each_other() -> None:
    (policy,) = [each for each in read("postgres", "networkpolicy.yaml") if each["metadata"]["name"] == "postgres"]
    (chosen,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert {FIRST["metadata"]["name"], RESTORED["metadata"]["name"]} == set(chosen["values"])
