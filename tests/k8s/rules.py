"""What must be true of rendered manifests, beyond what their schemas say. Each rule yields what is wrong."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.k8s.rendering import Manifest, containers, named, of_kind, pod, workloads

Findings = Iterator[str]
Rule = Callable[[list[Manifest]], Findings]

CURRENT: Final = {
    "v1": "ConfigMap Namespace PersistentVolumeClaim Secret Service ServiceAccount",
    "apps/v1": "Deployment StatefulSet",
    "batch/v1": "Job",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "policy/v1": "PodDisruptionBudget",
    "networking.k8s.io/v1": "NetworkPolicy",
    "gateway.networking.k8s.io/v1": "BackendTLSPolicy Gateway HTTPRoute",
    "cert-manager.io/v1": "Certificate ClusterIssuer",
    "external-secrets.io/v1": "ExternalSecret",
    "keda.sh/v1alpha1": "ScaledObject",
    "monitoring.coreos.com/v1": "PodMonitor PrometheusRule",
    "postgresql.cnpg.io/v1": "Cluster Pooler ScheduledBackup",
    "barmancloud.cnpg.io/v1": "ObjectStore",
}
"""The version of each kind that a current cluster serves."""

_SETTING: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_SECRET: Final = re.compile(r"[A-Z0-9_]*(PASSWORD|SECRET|TOKEN|HEADERS|KEY|KEY_PREVIOUS)")
_SIGNED_IN: Final = re.compile(r"://[^/@]*:[^/@]*@")


def versions_are_served(manifests: list[Manifest]) -> Findings:
    for manifest in manifests:
        if manifest["kind"] not in CURRENT.get(manifest["apiVersion"], "").split():
            yield f"{named(manifest)}: {manifest['apiVersion']}"


def selectors_find_pods(manifests: list[Manifest]) -> Findings:
    for workload in of_kind(manifests, "Deployment", "StatefulSet"):
        if not _selects(workload["spec"]["selector"]["matchLabels"], workload):
            yield f"{named(workload)} does not select its own pods"
    for service in of_kind(manifests, "Service"):
        if not _selected(manifests, service, service["spec"]["selector"]):
            yield f"{named(service)} selects nothing"
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        if not _selected(manifests, budget, budget["spec"]["selector"]["matchLabels"]):
            yield f"{named(budget)} selects nothing"


def services_lead_to_ports(manifests: list[Manifest]) -> Findings:
    for service in of_kind(manifests, "Service"):
        for workload in _selected(manifests, service, service["spec"]["selector"]):
            ports = [port for container in pod(workload)["containers"] for port in container.get("ports", [])]
            known = {port.get("name") for port in ports} | {port["containerPort"] for port in ports}
            wanted = {port.get("targetPort", port["port"]) for port in service["spec"]["ports"]}
            yield from (f"{named(service)}: no port {port} in {named(workload)}" for port in wanted - known)


def autoscalers_have_a_target(manifests: list[Manifest]) -> Findings:
    there = {(each["kind"], each["metadata"]["name"]) for each in workloads(manifests)}
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target.get("kind", "Deployment"), target["name"]) not in there:
            yield f"{named(scaler)} scales what is not there"


def nodes_can_be_drained(manifests: list[Manifest]) -> Findings:
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable") in {None, 0, "0", "0%"}:
            yield f"{named(budget)} lets no pod go"


def there_is_time_to_drain(manifests: list[Manifest]) -> Findings:
    for workload in of_kind(manifests, "Deployment"):
        grace = pod(workload).get("terminationGracePeriodSeconds", 30)
        for container in pod(workload)["containers"]:
            drain = next((int(each["value"]) for each in container.get("env", []) if "DRAIN" in each["name"]), 0)
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if grace <= pause + drain + 5:
                yield f"{named(workload)} is killed after {grace} s and needs {pause} + {drain} + 5"


def nobody_is_led_to_who_stops(manifests: list[Manifest]) -> Findings:
    """Of several, each waits before it stops until whoever leads requests to it has heard that it goes."""
    for workload in _of_several(manifests):
        services = of_kind(manifests, "Service")
        if any(workload in _selected(manifests, each, each["spec"]["selector"]) for each in services):
            for container in pod(workload)["containers"]:
                if not container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds"):
                    yield f"{named(workload)}, {container['name']}: stops at once"


def releases_take_nobody_away(manifests: list[Manifest]) -> Findings:
    for workload in _of_several(manifests):
        strategy = workload["spec"].get("strategy", {})
        if strategy.get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{named(workload)}: one goes before another is ready"


def namespaces_deny_by_default(manifests: list[Manifest]) -> Findings:
    shut = {
        policy["metadata"]["namespace"]
        for policy in of_kind(manifests, "NetworkPolicy")
        if policy["spec"]["podSelector"] == {}
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not policy["spec"].keys() & {"ingress", "egress"}
    }
    yield from {namespace["metadata"]["name"] for namespace in of_kind(manifests, "Namespace")} - shut


def namespaces_are_restricted(manifests: list[Manifest]) -> Findings:
    for namespace in of_kind(manifests, "Namespace"):
        labels = namespace["metadata"].get("labels", {})
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield named(namespace)


def liveness_is_not_readiness(manifests: list[Manifest]) -> Findings:
    for whose, _, container in containers(manifests):
        live, ready = container.get("livenessProbe"), container.get("readinessProbe")
        if live is not None and (_asked(live) == _asked(ready or {}) or "readyz" in str(live)):
            yield f"{whose}: what makes it unready would restart it"


def servers_say_when_they_are_ready(manifests: list[Manifest]) -> Findings:
    for workload in of_kind(manifests, "Deployment", "StatefulSet"):
        for container in pod(workload)["containers"]:
            if "readinessProbe" not in container:
                yield f"{named(workload)}, {container['name']}"


def what_is_mounted_exists(manifests: list[Manifest]) -> Findings:
    there = {named(each) for each in of_kind(manifests, "ConfigMap")}
    for workload in workloads(manifests):
        for name in _configurations(pod(workload)):
            if f"ConfigMap {workload['metadata']['namespace']}/{name}" not in there:
                yield f"{named(workload)}: no ConfigMap {name}"


def secrets_are_files(manifests: list[Manifest]) -> Findings:
    for whose, spec, container in containers(manifests):
        if any("secretRef" in each for each in container.get("envFrom", [])):
            yield f"{whose}: a Secret in its environment"
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}) or _tells_a_secret(variable):
                yield f"{whose}: {variable['name']}"
        for volume in spec.get("volumes", []):
            if any(mode & ~0o440 for mode in _modes(volume)):
                yield f"{whose}: {volume['name']} may be read by others"
    for settings in of_kind(manifests, "ConfigMap"):
        for name, value in settings.get("data", {}).items():
            if _tells_a_secret({"name": name, "value": value}):
                yield f"{named(settings)}: {name}"


def images_are_pinned(manifests: list[Manifest]) -> Findings:
    """To a series at least: within it tags of others move, and k8s/README.md says which, and how to fix them."""
    for whose, _, container in containers(manifests):
        name, _, tag = container["image"].rsplit("/", 1)[-1].partition(":")
        if "@sha256" not in name and tag in {"", "latest"}:
            yield f"{whose}: {container['image']}"


def memory_is_limited(manifests: list[Manifest]) -> Findings:
    for whose, _, container in containers(manifests):
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield whose


def roots_are_read_only(manifests: list[Manifest]) -> Findings:
    for whose, _, container in containers(manifests):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield whose


def nobody_is_root(manifests: list[Manifest]) -> Findings:
    for whose, spec, container in containers(manifests):
        said = spec.get("securityContext", {}) | container.get("securityContext", {})
        if said.get("runAsNonRoot") is not True or not said.get("runAsUser"):
            yield whose


def nobody_may_become_more(manifests: list[Manifest]) -> Findings:
    for whose, _, container in containers(manifests):
        said = container.get("securityContext", {})
        if said.get("allowPrivilegeEscalation") is not False or said.get("capabilities") != {"drop": ["ALL"]}:
            yield whose


def system_calls_are_filtered(manifests: list[Manifest]) -> Findings:
    for whose, spec, container in containers(manifests):
        said = spec.get("securityContext", {}) | container.get("securityContext", {})
        if said.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield whose


def pods_stay_in_their_own_house(manifests: list[Manifest]) -> Findings:
    for workload in workloads(manifests):
        spec = pod(workload)
        if any(spec.get(each) for each in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{named(workload)}: the host's"
        if spec.get("enableServiceLinks") is not False or spec.get("automountServiceAccountToken") is not False:
            yield f"{named(workload)}: service links, or a token for the cluster"


RULES: Final[list[Rule]] = [
    rule for rule in list(globals().values()) if getattr(rule, "__annotations__", {}).get("return") is Findings
]


def _selects(labels: dict[str, str], workload: Manifest) -> bool:
    return bool(labels) and labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()


def _selected(manifests: list[Manifest], of: Manifest, labels: dict[str, str]) -> list[Manifest]:
    beside = [each for each in workloads(manifests) if each["metadata"]["namespace"] == of["metadata"]["namespace"]]
    return [each for each in beside if _selects(labels, each)]


def _of_several(manifests: list[Manifest]) -> list[Manifest]:
    """Deployments of which some pod is to be there always: they have a budget."""
    kept = [
        found
        for budget in of_kind(manifests, "PodDisruptionBudget")
        for found in _selected(manifests, budget, budget["spec"]["selector"]["matchLabels"])
    ]
    return [each for each in of_kind(manifests, "Deployment") if each in kept]


def _asked(probe: Manifest) -> Any:
    return {name: said for name, said in probe.items() if name in {"httpGet", "exec", "tcpSocket"}}


def _configurations(spec: Manifest) -> Iterator[str]:
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            yield volume["configMap"]["name"]
        yield from (
            each["configMap"]["name"] for each in volume.get("projected", {}).get("sources", []) if "configMap" in each
        )
    for container in spec["containers"]:
        yield from (each["configMapRef"]["name"] for each in container.get("envFrom", []) if "configMapRef" in each)


def _tells_a_secret(variable: dict[str, str]) -> bool:
    value = variable.get("value", "")
    address = _SETTING.fullmatch(variable["name"]) and (_SIGNED_IN.search(value) or "password=" in value)
    return bool((value and _SECRET.fullmatch(variable["name"])) or address)


def _modes(volume: Manifest) -> Iterator[int]:
    """How files with a Secret in them may be read; Kubernetes' own default is everybody."""
    for kind in ("secret", "projected"):
        if kind in volume:
            yield volume[kind].get("defaultMode", 0o644)
            sources = volume[kind].get("sources", [{"secret": volume[kind]}])
            items = [item for each in sources for item in each.get("secret", {}).get("items", [])]
            yield from (item["mode"] for item in items if "mode" in item)
