"""Ways without which something does not work: each has to be open, out of the one pod and into the other."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from insula.settings import Settings
from tests.k8s.rendering import Manifest, named, of_kind, pod, selects, workloads
from tests.k8s.rules import Findings
from tests.k8s.ways import NAME, Labels, addresses, pods

SOLVED_AT: Final = 8089
"""Where cert-manager's pods answer HTTP-01."""
SERVERS: Final = {
    "cnpg.io/cluster": (("cnpg.io/cluster", (5432, 8000)),),
    "app.kubernetes.io/component=node": (("app.kubernetes.io/component=node", (6379, 26379)),),
    "app.kubernetes.io/component=proxy": (("app.kubernetes.io/component=node", (6379,)),),
}
"""Whom the servers of one kind speak to, and at which ports."""


class Place(msgspec.Struct, frozen=True):
    """Pods with these labels in a namespace with these; without labels of a namespace, anywhere."""

    namespace: Labels
    labels: Labels = {}

    @property
    def home(self) -> str:
        return self.namespace.get(NAME, "")


class Way(msgspec.Struct, frozen=True):
    """From one place to a port of another, by its number or by its name."""

    source: Place
    target: Place
    ports: frozenset[int | str]
    protocol: str = "TCP"


ANYWHERE: Final = Place({})
DNS: Final = Place({NAME: "kube-system"}, {"k8s-app": "kube-dns"})
GATEWAY: Final = Place({"insula/reaches-api": "true"})
PROMETHEUS: Final = Place({"insula/scrapes": "true"})
COLLECTOR: Final = Place({"insula/collects-traces": "true"})
OPERATOR: Final = Place({"insula/operates-postgres": "true"})


def ways_that_are_needed_are_open(manifests: list[Manifest]) -> Findings:
    houses = {each["metadata"]["name"] for each in of_kind(manifests, "Namespace")}
    for way in (*_to_servers(manifests), *_of_the_program(manifests), *_from_outside(manifests), *_inside(manifests)):
        said = f"{way.source.labels or way.source.namespace} to {way.target.labels or way.target.namespace}"
        if way.source.home in houses and not _lets(manifests, "egress", way):
            yield f"{said} at {set(way.ports)}: not let out"
        if way.target.home in houses and not _lets(manifests, "ingress", way):
            yield f"{said} at {set(way.ports)}: not let in"


def _to_servers(manifests: list[Manifest]) -> Iterator[Way]:
    """Where the addresses lead that a workload is given."""
    secrets = {
        (
            each["metadata"]["namespace"],
            each.get("spec", each["metadata"]).get("target", each["metadata"])["name"],
        ): each
        for each in of_kind(manifests, "Secret", "ExternalSecret")
    }
    for workload in workloads(manifests):
        volumes = pod(workload).get("volumes", [])
        for source in (each for volume in volumes for each in volume.get("projected", {}).get("sources", [])):
            name, keys = source["secret"]["name"], {item["key"] for item in source["secret"].get("items", [])}
            made = secrets.get((workload["metadata"]["namespace"], name))
            for url in (url for key, url in (addresses(made) if made else ()) if key in keys):
                port = url.port or (5432 if url.scheme == "postgresql" else 6379)
                yield from (Way(_place(workload), *there) for there in _reached(manifests, url.hostname or "", port))


def _of_the_program(manifests: list[Manifest]) -> Iterator[Way]:
    """DNS for everybody, mail for workers, and spans."""
    for namespace, labels in pods(manifests):
        for protocol in ("UDP", "TCP"):
            yield Way(Place({NAME: namespace}, labels), DNS, frozenset({53}), protocol)
    settings: dict[str, str] = {}
    for each in of_kind(manifests, "ConfigMap"):
        settings |= each["data"] if "INSULA_BASE_URL" in each["data"] else {}
    default = next(each.default for each in msgspec.structs.fields(Settings) if each.name == "smtp_port")
    port, host = int(settings.get("INSULA_SMTP_PORT", default)), settings.get("INSULA_SMTP_HOST", "")
    collector = urlsplit(settings.get("INSULA_TRACES_URL", ""))
    for workload in _program(manifests):
        if workload["metadata"]["labels"]["app.kubernetes.io/component"] == "worker":
            known = list(_reached(manifests, host, port)) or [(ANYWHERE, frozenset({port}))]
            yield from (Way(_place(workload), *there) for there in known)
        if collector.port:
            yield Way(_place(workload), COLLECTOR, frozenset({collector.port}))


def _from_outside(manifests: list[Manifest]) -> Iterator[Way]:
    """The gateway, and Prometheus at every port that is called so."""
    for service in of_kind(manifests, "Service"):
        for workload in _program(manifests):
            if selects({"matchLabels": service["spec"]["selector"]}, _place(workload).labels):
                for port in service["spec"]["ports"]:
                    yield Way(GATEWAY, _place(workload), _same(workload, port["targetPort"]))
    for workload in _program(manifests):
        yield Way(PROMETHEUS, _place(workload), _same(workload, "metrics"))
    for namespace, labels in pods(manifests):
        if "acme.cert-manager.io/http01-solver" in labels:
            yield Way(GATEWAY, Place({NAME: namespace}, labels), frozenset({SOLVED_AT}))


def _inside(manifests: list[Manifest]) -> Iterator[Way]:
    """What servers say to each other, to their operator, and an instance to Kubernetes and the object store."""
    there = [Place({NAME: namespace}, labels) for namespace, labels in pods(manifests)]
    for place in there:
        for whose, spoken_to in SERVERS.items():
            for whom, ports in spoken_to if _is(place, whose) else ():
                for other in (each for each in there if _is(each, whom) and each.home == place.home):
                    yield from (Way(place, other, frozenset({port})) for port in ports)
        if "cnpg.io/cluster" in place.labels:
            yield from (Way(OPERATOR, place, frozenset({port})) for port in (5432, 8000))
            yield Way(PROMETHEUS, place, frozenset({9187}))
            yield from (Way(place, ANYWHERE, frozenset({port})) for port in (443, 6443))


def _lets(manifests: list[Manifest], side: str, way: Way) -> bool:
    """Whether some policy about the pod at this end lets through, this way, what comes from or goes to the other."""
    mine, other = (way.source, way.target) if side == "egress" else (way.target, way.source)
    return any(
        _fits(rule, "to" if side == "egress" else "from", mine, other)
        and any(each["port"] in way.ports and each["protocol"] == way.protocol for each in rule["ports"])
        for policy in of_kind(manifests, "NetworkPolicy")
        if policy["metadata"]["namespace"] == mine.home and selects(policy["spec"]["podSelector"], mine.labels)
        for rule in policy["spec"].get(side, [])
    )


def _fits(rule: dict[str, Any], peers: str, mine: Place, other: Place) -> bool:
    if peers not in rule:
        return True
    at_home = {"matchLabels": {NAME: mine.home}}
    return other != ANYWHERE and any(
        selects(peer.get("namespaceSelector", at_home), other.namespace)
        and selects(peer.get("podSelector", {}), other.labels)
        for peer in rule[peers]
    )


def _reached(manifests: list[Manifest], host: str, port: int) -> Iterator[tuple[Place, frozenset[int | str]]]:
    """The pods behind NAME.NAMESPACE.svc, and their port."""
    name, _, rest = host.partition(".")
    home = rest.partition(".")[0]
    for service in of_kind(manifests, "Service"):
        if (service["metadata"]["name"], service["metadata"]["namespace"]) == (name, home):
            (target,) = [each["targetPort"] for each in service["spec"]["ports"] if each["port"] == port]
            for workload in workloads(manifests):
                place = _place(workload)
                if place.home == home and selects({"matchLabels": service["spec"]["selector"]}, place.labels):
                    yield place, _same(workload, target)
    for pooler in of_kind(manifests, "Pooler"):
        if pooler["metadata"]["name"] == name:
            yield Place({NAME: home}, {"cnpg.io/poolerName": name}), frozenset({port})
    for cluster in of_kind(manifests, "Cluster"):
        if f"{cluster['metadata']['name']}-rw" == name:
            yield Place({NAME: home}, {"cnpg.io/cluster": cluster["metadata"]["name"]}), frozenset({port})


def _program(manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in of_kind(manifests, "Deployment") if named(each).startswith("Deployment insula/")]


def _place(workload: Manifest) -> Place:
    return Place({NAME: workload["metadata"]["namespace"]}, workload["spec"]["template"]["metadata"]["labels"])


def _same(workload: Manifest, port: int | str) -> frozenset[int | str]:
    """A port by its number and by its name."""
    ports = [each for container in pod(workload)["containers"] for each in container["ports"]]
    return frozenset({port}).union(
        *({each["name"], each["containerPort"]} for each in ports if port in {each["name"], each["containerPort"]})
    )


def _is(place: Place, label: str) -> bool:
    name, _, value = label.partition("=")
    return name in place.labels and value in {"", place.labels[name]}
