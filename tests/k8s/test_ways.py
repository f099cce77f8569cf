"""Ways that lead nowhere, or from everywhere, are planted and found."""

from collections.abc import Callable

import pytest

from tests.k8s import needs, test_faults, test_redis, test_tls, ways
from tests.k8s.rendering import RENDERED, REPLICAS, Manifest, named, of_kind, one, rendered
from tests.k8s.rules import Rule
from tests.k8s.test_manifests import README

pytestmark = pytest.mark.peers

Plant = Callable[[list[Manifest]], object]


def policy(name: str) -> Callable[[list[Manifest]], Manifest]:
    def find(manifests: list[Manifest]) -> Manifest:
        spec: Manifest = one(manifests, "NetworkPolicy", name)["spec"]
        return spec

    return find


def scaler(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = one(manifests, "ScaledObject", "worker")["spec"]
    return spec


def to(address: str) -> Plant:
    def plant(manifests: list[Manifest]) -> None:
        told = one(manifests, "ExternalSecret", "insula-app-migrator")["spec"]["target"]["template"]["data"]
        assert "@insula-rw." in told["url"]
        told["url"] = told["url"].replace("@insula-rw.", f"@{address}.")

    return plant


def counting(metric: str) -> Plant:
    def plant(manifests: list[Manifest]) -> None:
        (pods,) = [
            each["pods"]
            for each in one(manifests, "HorizontalPodAutoscaler", "api")["spec"]["metrics"]
            if each["type"] == "Pods"
        ]
        pods["metric"].update(name=metric)

    return plant


def asking(ours: str, other: str) -> Plant:
    def plant(manifests: list[Manifest]) -> None:
        asked = scaler(manifests)["triggers"][0]["metadata"]
        assert ours in asked["query"]
        asked["query"] = asked["query"].replace(ours, other)

    return plant


def without(policy: str) -> Plant:
    def plant(manifests: list[Manifest]) -> None:
        (closed,) = [each for each in of_kind(manifests, "NetworkPolicy") if named(each).endswith(f" {policy}")]
        manifests.remove(closed)

    return plant


def endpoint(name: str, **fields: object) -> Plant:
    return lambda each: one(each, "PodMonitor", name)["spec"]["podMetricsEndpoints"][0].update(fields)


def route(**fields: object) -> Plant:
    return lambda each: one(each, "HTTPRoute", "api")["spec"]["rules"][0]["backendRefs"][0].update(fields)


mail, nodes = policy("worker-to-mail"), policy("redis-nodes")
gateway, postgres, pooler = policy("api-from-gateway"), policy("postgres"), policy("pooler-from-program")

RULES: list[Rule] = [*ways.RULES, needs.ways_that_are_needed_are_open]
NEEDED = [
    "insula/acme-solver-from-gateway", "insula/api-from-gateway", "insula/metrics-from-prometheus", "insula/to-cache",
    "insula/to-collector", "insula/to-dns", "insula/to-postgres", "insula/to-redis", "insula/worker-to-mail",
    "insula-data/cache-from-api", "insula-data/pooler-from-program", "insula-data/postgres",
    "insula-data/postgres-from-migrations", "insula-data/redis-nodes", "insula-data/redis-proxy", "insula-data/to-dns",
]  # fmt: skip
"""Policies that let something through, each of which must not be missing."""

FAULTS: dict[str, tuple[Plant, Rule]] = {
    "everybody in": (lambda each: gateway(each).update(ingress=[{}]), ways.walls_have_no_holes),
    "everybody in at one port": (lambda each: gateway(each)["ingress"][0].pop("from"), ways.walls_have_no_holes),
    "everybody in from all namespaces": (
        lambda each: gateway(each)["ingress"][0].update({"from": [{"namespaceSelector": {}}]}),
        ways.walls_have_no_holes,
    ),
    "out to everything": (lambda each: mail(each).update(egress=[{}]), ways.walls_have_no_holes),
    "out to every address": (
        lambda each: mail(each).update(egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]),
        ways.walls_have_no_holes,
    ),
    "out to every port": (
        lambda each: mail(each)["egress"][0]["ports"].append({"protocol": "TCP"}),
        ways.walls_have_no_holes,
    ),
    "a policy about no pod": (
        lambda each: nodes(each)["podSelector"]["matchLabels"].update({"app.kubernetes.io/component": "nodes"}),
        ways.policies_are_about_pods,
    ),
    "a policy about no cluster": (
        lambda each: postgres(each)["podSelector"]["matchExpressions"][0].update(values=["insula", "insular"]),
        ways.policies_are_about_pods,
    ),
    "a neighbour that is no pod": (
        lambda each: nodes(each)["egress"][0]["to"][0]["podSelector"]["matchLabels"].update({"app": "redis"}),
        ways.policies_are_about_pods,
    ),
    "a neighbour over there that is no pod": (
        lambda each: pooler(each)["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0].update(
            values=["api", "workers"]
        ),
        ways.policies_are_about_pods,
    ),
    "a policy about a pooler that is gone": (
        lambda each: each.remove(one(each, "Pooler", "insula-pooler-rw")),
        ways.policies_are_about_pods,
    ),
    "a migrator through a pooler": (to("insula-pooler-rw"), ways.migrations_go_around_poolers),
    "a route to no port": (route(port=80), ways.routes_lead_to_ports),
    "a route to no Service": (route(name="web"), ways.routes_lead_to_ports),
    "no workers": (lambda each: scaler(each).update(minReplicaCount=0), ways.workers_are_never_all_gone),
    "no workers by default": (lambda each: scaler(each).pop("minReplicaCount"), ways.workers_are_never_all_gone),
    "a query of no metric": (asking("outbox_oldest_seconds", "outbox_age"), ways.autoscalers_ask_for_what_is_told),
    "a query of no label": (asking("served=", "shown="), ways.autoscalers_ask_for_what_is_told),
    "a measure of no metric": (counting("http_requests"), ways.autoscalers_ask_for_what_is_told),
    "a monitor of no port": (endpoint("insula", port="metric"), ways.monitors_ask_ports_that_are_there),
    "a monitor of no port of the database": (
        endpoint("postgres", port="exporter"),
        ways.monitors_ask_ports_that_are_there,
    ),
    "a monitor of nobody": (
        lambda each: one(each, "PodMonitor", "postgres")["spec"]["selector"]["matchLabels"].update(
            {"cnpg.io/podRole": "pooler"}
        ),
        ways.monitors_ask_ports_that_are_there,
    ),
    "mail at another port": (
        lambda each: mail(each)["egress"][0]["ports"].pop(0),
        needs.ways_that_are_needed_are_open,
    ),
    **{f"no {name}": (without(name), needs.ways_that_are_needed_are_open) for name in NEEDED},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    manifests = rendered("overlays/production")
    plant, rule = FAULTS[fault]
    assert not list(rule(manifests))
    plant(manifests)
    assert list(rule(manifests))


def test_a_migrator_through_a_pooler_is_found_in_a_plain_secret_too() -> None:
    manifests = rendered("overlays/dev")
    (first,) = of_kind(manifests, "Cluster")
    manifests.append({"kind": "Pooler", "metadata": {"name": "insula-rw"}, "spec": first["spec"]})
    assert list(ways.migrations_go_around_poolers(manifests))


def test_the_readme_says_how_many_faults_are_planted() -> None:
    planted = sum(len(each) for each in (FAULTS, test_faults.FAULTS, test_redis.FAULTS, test_tls.FAULTS))
    assert f"plants {planted} faults and sees each found" in README


def test_every_rule_has_a_fault_that_it_finds() -> None:
    assert {rule for _, rule in FAULTS.values()} == {*RULES}


def test_every_policy_that_lets_through_is_seen_to_be_missing() -> None:
    there = {f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in policies("overlays/production")}
    assert there == {*NEEDED, "insula/default-deny", "insula-data/default-deny"}


@pytest.mark.parametrize("folder", ["overlays/dev", REPLICAS])
def test_so_is_what_only_another_overlay_has(folder: str) -> None:
    known = {named(each) for each in policies("overlays/production")}
    more = [name for each in policies(folder) if (name := named(each)) not in known]
    assert more
    for name in more:
        manifests = rendered(folder)
        without(name.partition(" ")[2])(manifests)
        assert list(needs.ways_that_are_needed_are_open(manifests)), name


def policies(folder: str) -> list[Manifest]:
    return of_kind(rendered(folder), "NetworkPolicy")


@pytest.mark.parametrize("folder", RENDERED)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_manifests_keep_the_rule(rule: Rule, folder: str) -> None:
    assert list(rule(rendered(folder))) == []
