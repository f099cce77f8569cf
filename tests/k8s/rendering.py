"""The manifests as the cluster gets them: rendered by kubectl or kustomize, read as plain data."""

import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
QUEUES: Final = "../tests/k8s/queues"
REPLICAS: Final = "../tests/k8s/replicas"
RENDERED: Final = ("base", "overlays/dev", "overlays/production", QUEUES, REPLICAS)

Manifest = dict[str, Any]


def rendered(folder: str) -> list[Manifest]:
    """What `kubectl apply -k k8s/FOLDER` would send; a copy, to plant faults in."""
    return deepcopy(_render(folder))


@cache
def _render(folder: str) -> list[Manifest]:
    return list(yaml.safe_load_all(render(folder)))


def render(folder: str, *options: str) -> str:
    """What whichever of the two programs is there prints."""
    command = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    line = [*command, str(ROOT / "k8s" / folder), *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The only one of this kind and name."""
    (found,) = [manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name]
    return found


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector chooses what has these labels."""
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata'].get('namespace', '')}/{manifest['metadata']['name']}"


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    """What makes pods."""
    return of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet", "Job")


def pod(manifest: Manifest) -> Manifest:
    """The pod's specification in a workload."""
    found: Manifest = manifest["spec"]["template"]["spec"]
    return found


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Each container of each workload: whose it is, its pod, itself."""
    for workload in workloads(manifests):
        spec = pod(workload)
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{named(workload)}, {container['name']}", spec, container
