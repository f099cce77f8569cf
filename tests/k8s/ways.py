"""What must be true of the ways between pods: who is let in and out, where addresses lead, what autoscalers ask for."""

import base64
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from tests.deploy.test_monitoring import ours
from tests.k8s.rendering import ROOT, Manifest, named, of_kind, pod, selects, workloads
from tests.k8s.rules import Findings, Rule
from tests.k8s.test_dashboards import wrong

Labels = dict[str, str]
Pod = tuple[str, Labels]
"""A pod's namespace and labels."""

_RESTORE: Final = ROOT / "k8s" / "components" / "backups" / "restore.yaml"
NAME: Final = "kubernetes.io/metadata.name"
_OF_AN_INSTANCE: Final = {"postgresql", "metrics", "status"}
"""The ports of PostgreSQL's pods, as CloudNativePG calls them."""
_SIDES: Final = (("ingress", "from"), ("egress", "to"))


def walls_have_no_holes(manifests: list[Manifest]) -> Findings:
    for policy in of_kind(manifests, "NetworkPolicy"):
        for side, peers in _SIDES:
            for way in policy["spec"].get(side, []):
                everybody = not way.get(peers) or any(_is_everybody(peer) for peer in way[peers])
                anywhere = not way.get("ports") or any("port" not in each for each in way["ports"])
                if everybody and (side == "ingress" or anywhere):
                    yield f"{named(policy)}: {side} of everything"


def policies_are_about_pods(manifests: list[Manifest]) -> Findings:
    there, houses = list(pods(manifests)), {each["metadata"]["name"] for each in of_kind(manifests, "Namespace")}
    for policy in of_kind(manifests, "NetworkPolicy"):
        home = policy["metadata"]["namespace"]
        chosen = [(home, policy["spec"]["podSelector"])]
        for side, peers in _SIDES:
            for peer in (each for way in policy["spec"].get(side, []) for each in way.get(peers, [])):
                namespace = peer.get("namespaceSelector", {"matchLabels": {NAME: home}})
                chosen.append((namespace.get("matchLabels", {}).get(NAME, ""), peer.get("podSelector", {})))
        for namespace, selector in chosen:
            if namespace in houses:
                yield from (f"{named(policy)}: no pod {each}" for each in _missed(selector, namespace, there))


def migrations_go_around_poolers(manifests: list[Manifest]) -> Findings:
    poolers = {each["metadata"]["name"] for each in of_kind(manifests, "Pooler")}
    for secret in of_kind(manifests, "Secret", "ExternalSecret"):
        for _, url in addresses(secret):
            if url.username == "app_migrator" and (url.hostname or "").partition(".")[0] in poolers:
                yield f"{named(secret)}: through {url.hostname}"


def routes_lead_to_ports(manifests: list[Manifest]) -> Findings:
    there = {
        (each["metadata"]["namespace"], each["metadata"]["name"], port["port"])
        for each in of_kind(manifests, "Service")
        for port in each["spec"]["ports"]
    }
    for route in of_kind(manifests, "HTTPRoute"):
        for behind in (each for rule in route["spec"]["rules"] for each in rule.get("backendRefs", [])):
            home = behind.get("namespace", route["metadata"]["namespace"])
            if (home, behind["name"], behind.get("port")) not in there:
                yield f"{named(route)}: no port {behind.get('port')} of {behind['name']}"


def workers_are_never_all_gone(manifests: list[Manifest]) -> Findings:
    for scaler in of_kind(manifests, "ScaledObject"):
        if scaler["spec"].get("minReplicaCount", 0) < 1 or "idleReplicaCount" in scaler["spec"]:
            yield named(scaler)


def monitors_ask_ports_that_are_there(manifests: list[Manifest]) -> Findings:
    for monitor in of_kind(manifests, "PodMonitor"):
        home, selector = monitor["metadata"]["namespace"], monitor["spec"]["selector"]
        told = [
            {port["name"] for container in pod(each)["containers"] for port in container["ports"]}
            for each in workloads(manifests)
            if each["metadata"]["namespace"] == home
            and selects(selector, each["spec"]["template"]["metadata"]["labels"])
        ]
        if any(
            where == home and "cnpg.io/podRole" in mine and selects(selector, mine) for where, mine in pods(manifests)
        ):
            told.append(_OF_AN_INSTANCE)
        for asked in monitor["spec"]["podMetricsEndpoints"]:
            if not told or any(asked.get("port") not in each for each in told):
                yield f"{named(monitor)}: no port {asked.get('port')}"


def autoscalers_ask_for_what_is_told(manifests: list[Manifest]) -> Findings:
    for scaler in of_kind(manifests, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            yield from (f"{named(scaler)}: {each}" for each in wrong(trigger["metadata"]["query"]))
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        asked = {each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"}
        yield from (f"{named(scaler)}: {each}" for each in asked - ours().keys())


RULES: Final[list[Rule]] = [
    rule for rule in list(globals().values()) if getattr(rule, "__annotations__", {}).get("return") is Findings
]


def _is_everybody(peer: dict[str, Any]) -> bool:
    if peer.get("ipBlock", {}).get("cidr", "").endswith("/0"):
        return True
    return peer.get("namespaceSelector") == {} and not peer.get("podSelector")


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    """Those of workloads, and those that operators make of what is rendered, with the labels that they document."""
    for workload in workloads(manifests):
        yield workload["metadata"]["namespace"], workload["spec"]["template"]["metadata"]["labels"]
    if clusters := of_kind(manifests, "Cluster"):
        restored: Manifest = yaml.safe_load(_RESTORE.read_text(encoding="utf-8"))
        for each in (*clusters, restored):
            name = each["metadata"]["name"]
            yield each["metadata"]["namespace"], {"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"}
    for pooler in of_kind(manifests, "Pooler"):
        yield pooler["metadata"]["namespace"], {"cnpg.io/poolerName": pooler["metadata"]["name"]}
    for gateway in of_kind(manifests, "Gateway"):  # for whose certificate an issuer may solve by HTTP-01
        yield gateway["metadata"]["namespace"], {"acme.cert-manager.io/http01-solver": "true"}


def _missed(selector: dict[str, Any], namespace: str, pods: list[Pod]) -> Iterator[str]:
    """What is asked for and no pod has: all labels together, and each value of a list."""
    labels: Labels = selector.get("matchLabels", {})
    there = [mine for home, mine in pods if home == namespace and labels.items() <= mine.items()]
    if labels and not there:
        yield str(labels)
    for asked in selector.get("matchExpressions", []):
        assert asked["operator"] == "In", asked
        yield from (each for each in asked["values"] if each not in {mine.get(asked["key"]) for mine in there})


def addresses(secret: Manifest) -> Iterator[tuple[str, Any]]:
    """Each with its key."""
    if secret["kind"] == "Secret":
        told = {key: base64.b64decode(each).decode() for key, each in secret.get("data", {}).items()}
    else:
        told = secret["spec"]["target"].get("template", {}).get("data", {})
    yield from ((key, urlsplit(re.sub(r"{{.*?}}", "word", each))) for key, each in told.items() if "://" in each)
