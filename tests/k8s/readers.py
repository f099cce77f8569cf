"""Programs of others that read manifests."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import yaml

from tests.k8s.operators import is_operators
from tests.k8s.rendering import Manifest

ALLOWED: Final = {
    "CKV_K8S_15": "an image that is there need not be asked for at each start, when a registry may be away; tags of others move",
    "CKV_K8S_43": "digests are the installation's: `kustomize edit set image` puts them there, as k8s/README.md says for each",
}
"""Checks of checkov that are left out, and why."""


def schema_complaints(manifests: list[Manifest]) -> list[str]:
    """What kubernetes-validate says; it knows every field and type of Kubernetes' own kinds, and of operators' none."""
    known = [each for each in manifests if not is_operators(each)]
    done = _read(["kubernetes-validate", "--strict"], known)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()


def checkov_complaints(manifests: list[Manifest]) -> tuple[int, list[str]]:
    """How many checks passed, and what failed."""
    command = ["checkov", "--skip-download", "--quiet", "--framework=kubernetes", "--output=json"]
    done = _read([*command, f"--skip-check={','.join(ALLOWED)}", "--file"], manifests)
    said = json.loads(done.stdout)
    failed = [
        f"{each['check_id']} {each['check_name']}: {each['resource']}" for each in said["results"]["failed_checks"]
    ]
    return said["summary"]["passed"], failed


def _read(command: list[str], manifests: list[Manifest]) -> "subprocess.CompletedProcess[str]":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifests.yaml"
        path.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
        return subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
