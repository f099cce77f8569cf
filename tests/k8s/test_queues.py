"""Workers of a queue of their own: one Deployment more, which shares nothing with the first but the program."""

import re
from pathlib import Path

import pytest

from insula.core.feature import queues_of
from insula.product import FEATURES
from insula.settings import load
from insula.worker import create_worker
from tests.k8s.rendering import QUEUES, Manifest, of_kind, one, pod, rendered
from tests.k8s.test_manifests import README, environment

pytestmark = pytest.mark.peers

GROUPS = {"worker": "default", "worker-bulk": "bulk"}


def served(manifests: list[Manifest], name: str, folder: Path) -> str:
    """The queues of a Deployment's workers; its settings are such as the program starts with."""
    folder.mkdir()
    settings = load(environment(manifests, one(manifests, "Deployment", name), folder))
    create_worker(settings)
    assert settings.worker_queues is not None
    return settings.worker_queues


def test_every_queue_is_served_by_one_group(tmp_path: Path) -> None:
    manifests = rendered(QUEUES)
    found = [served(manifests, name, tmp_path / name) for name in GROUPS]
    assert found == [*GROUPS.values()]
    assert sorted(found) == sorted(queues_of(FEATURES))


def test_no_variable_is_given_twice() -> None:
    manifests = rendered(QUEUES)
    for name in GROUPS:
        (container,) = pod(one(manifests, "Deployment", name))["containers"]
        names = [each["name"] for each in container["env"]]
        assert len(set(names)) == len(names)


def test_each_group_counts_moves_and_scales_by_itself() -> None:
    manifests = rendered(QUEUES)
    for name, group in GROUPS.items():
        deployment, budget = one(manifests, "Deployment", name), one(manifests, "PodDisruptionBudget", name)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        spread = pod(deployment)["topologySpreadConstraints"]
        selectors = [
            deployment["spec"]["selector"],
            budget["spec"]["selector"],
            *(each["labelSelector"] for each in spread),
        ]
        for selector in selectors:
            assert selector["matchLabels"].items() <= labels.items()
            assert selector["matchLabels"]["insula/group"] == group
        scaler = one(manifests, "ScaledObject", name)["spec"]
        assert scaler["scaleTargetRef"]["name"] == name
        assert f'queue="{group}"' in scaler["triggers"][0]["metadata"]["query"]
        assert "replicas" not in deployment["spec"], "the autoscaler's"


def test_a_release_waits_for_every_group_and_takes_every_group_back() -> None:
    asked = re.findall(r"kubectl rollout (\w+) -n insula deployment -l ([\w./]+)=(\w+)", README)
    assert [verb for verb, _, _ in asked] == ["status", "undo", "restart"]
    ours = [each for each in of_kind(rendered(QUEUES), "Deployment") if each["metadata"]["namespace"] == "insula"]
    assert {each["metadata"]["name"] for each in ours} == {"api", *GROUPS}
    for _, label, value in asked:
        assert {each["metadata"]["labels"][label] for each in ours} == {value}


def test_both_go_the_ways_of_workers() -> None:
    """NetworkPolicies and the PodMonitor know them by the component."""
    manifests = rendered(QUEUES)
    for name in GROUPS:
        labels = one(manifests, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/component"] == "worker"
    assert not [each for each in of_kind(manifests, "NetworkPolicy") if "insula/group" in str(each["spec"])]
    assert "worker-bulk" not in {
        each["metadata"]["name"] for each in of_kind(rendered("overlays/production"), "Deployment")
    }
