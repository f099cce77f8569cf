"""Every fault that could slip into the manifests is planted, and found."""

from collections.abc import Callable

import pytest

from tests.k8s import rules
from tests.k8s.readers import schema_complaints
from tests.k8s.rendering import RENDERED, Manifest, named, one, pod, rendered

pytestmark = pytest.mark.peers

Finder = Callable[[list[Manifest]], object]
Faults = dict[str, tuple[Callable[[], object], Finder]]
"""By its name: how each is planted, and what must find it."""


def faults(manifests: list[Manifest]) -> Faults:
    return of_pods(manifests) | of_secrets(manifests) | around_pods(manifests)


def of_pods(manifests: list[Manifest]) -> Faults:
    api, worker = one(manifests, "Deployment", "api"), one(manifests, "Deployment", "worker")
    (container,), (jobs,) = pod(api)["containers"], pod(worker)["containers"]
    safety, tagged = container["securityContext"], {"image": "insula:latest"}
    return {
        "an unknown field": (lambda: pod(api).update(containres=[]), schema_complaints),
        "a wrong type": (lambda: api["spec"].update(revisionHistoryLimit="five"), schema_complaints),
        "a writable root": (lambda: safety.update(readOnlyRootFilesystem=False), rules.roots_are_read_only),
        "the user root": (lambda: pod(api)["securityContext"].update(runAsUser=0), rules.nobody_is_root),
        "no limit of memory": (lambda: container["resources"]["limits"].pop("memory"), rules.memory_is_limited),
        "the tag latest": (lambda: container.update(tagged), rules.images_are_pinned),
        "no readiness probe": (lambda: jobs.pop("readinessProbe"), rules.servers_say_when_they_are_ready),
        "no seccomp": (lambda: pod(api)["securityContext"].pop("seccompProfile"), rules.system_calls_are_filtered),
        "the host's network": (lambda: pod(api).update(hostNetwork=True), rules.pods_stay_in_their_own_house),
        "too little grace": (
            lambda: pod(worker).update(terminationGracePeriodSeconds=90),
            rules.there_is_time_to_drain,
        ),
        "no pause before the end": (lambda: container.pop("lifecycle"), rules.nobody_is_led_to_who_stops),
        "a pause of nothing": (
            lambda: container["lifecycle"]["preStop"]["sleep"].update(seconds=0),
            rules.nobody_is_led_to_who_stops,
        ),
        "a release that takes a pod away first": (
            lambda: api["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
            rules.releases_take_nobody_away,
        ),
        "a release by the cluster's own strategy": (
            lambda: worker["spec"].pop("strategy"),
            rules.releases_take_nobody_away,
        ),
        "liveness that asks the database": (
            lambda: container["livenessProbe"]["httpGet"].update(path="/readyz"),
            rules.liveness_is_not_readiness,
        ),
        "a capability": (
            lambda: safety.update(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            rules.nobody_may_become_more,
        ),
    }


def of_secrets(manifests: list[Manifest]) -> Faults:
    api = one(manifests, "Deployment", "api")
    (container,) = pod(api)["containers"]
    (settings,) = [each for each in manifests if named(each).startswith("ConfigMap insula/insula-")]
    key = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "insula-key", "key": "secret_key"}}}
    return {
        "a secret in the environment": (lambda: container["env"].append(key), rules.secrets_are_files),
        "a password in an address": (
            lambda: container["env"].append({"name": "URL", "value": "postgresql://app_rw:word@db/insula"}),
            rules.secrets_are_files,
        ),
        "a secret of a mode that is wider": (
            lambda: volume(api, "tls")["secret"].update(defaultMode=0o444),
            rules.secrets_are_files,
        ),
        "a secret of the cluster's own mode": (
            lambda: volume(api, "secrets")["projected"].pop("defaultMode"),
            rules.secrets_are_files,
        ),
        "a secret's file of a wider mode": (
            lambda: volume(api, "secrets")["projected"]["sources"][0]["secret"]["items"][0].update(mode=0o644),
            rules.secrets_are_files,
        ),
        "a password for everybody to read": (
            lambda: container["env"].append({"name": "INSULA_SMTP_PASSWORD", "value": "word"}),
            rules.secrets_are_files,
        ),
        "a key among the settings": (
            lambda: settings["data"].update(INSULA_SECRET_KEY="word"),
            rules.secrets_are_files,
        ),
        "an address with a password among the settings": (
            lambda: settings["data"].update(INSULA_REDIS_URL="rediss://:word@redis:6379"),
            rules.secrets_are_files,
        ),
    }


def volume(workload: Manifest, name: str) -> Manifest:
    (found,) = [each for each in pod(workload)["volumes"] if each["name"] == name]
    mine: Manifest = found
    return mine


def around_pods(manifests: list[Manifest]) -> Faults:
    service, budget = one(manifests, "Service", "api"), one(manifests, "PodDisruptionBudget", "api")
    scaler, deny = one(manifests, "HorizontalPodAutoscaler", "api"), one(manifests, "NetworkPolicy", "default-deny")
    labels = one(manifests, "Namespace", "insula")["metadata"]["labels"]
    (settings,) = [each for each in manifests if named(each).startswith("ConfigMap insula/insula-")]
    return {
        "a removed API version": (lambda: budget.update(apiVersion="policy/v1beta1"), rules.versions_are_served),
        "a selector that misses": (
            lambda: service["spec"]["selector"].update({"app.kubernetes.io/name": "insular"}),
            rules.selectors_find_pods,
        ),
        "a wrong targetPort": (
            lambda: service["spec"]["ports"][0].update(targetPort=8080),
            rules.services_lead_to_ports,
        ),
        "no target to scale": (
            lambda: scaler["spec"]["scaleTargetRef"].update(name="web"),
            rules.autoscalers_have_a_target,
        ),
        "a budget of nothing": (lambda: budget["spec"].update(maxUnavailable=0), rules.nodes_can_be_drained),
        "no default deny": (lambda: manifests.remove(deny), rules.namespaces_deny_by_default),
        "a ConfigMap that is missing": (lambda: manifests.remove(settings), rules.what_is_mounted_exists),
        "a namespace without its label": (
            lambda: labels.pop("pod-security.kubernetes.io/enforce"),
            rules.namespaces_are_restricted,
        ),
    }


FAULTS = [
    "an unknown field", "a wrong type", "a writable root", "the user root", "no limit of memory", "the tag latest",
    "a secret in the environment", "no readiness probe", "no seccomp", "the host's network", "a removed API version",
    "a selector that misses", "a wrong targetPort", "no target to scale", "a budget of nothing", "too little grace",
    "no default deny", "liveness that asks the database", "a ConfigMap that is missing", "a namespace without its label",
    "a capability", "a password in an address", "a secret of a mode that is wider", "a secret of the cluster's own mode",
    "a secret's file of a wider mode", "a password for everybody to read", "a key among the settings",
    "an address with a password among the settings", "no pause before the end", "a pause of nothing",
    "a release that takes a pod away first", "a release by the cluster's own strategy",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    manifests = rendered("base")
    plant, finder = faults(manifests)[fault]
    assert not list(finder(manifests))
    plant()
    assert list(finder(manifests))


def test_every_rule_has_a_fault_that_it_finds() -> None:
    planted = faults(rendered("base"))
    assert sorted(planted) == sorted(FAULTS)
    assert {finder for _, finder in planted.values()} == {*rules.RULES, schema_complaints}


@pytest.mark.parametrize("folder", RENDERED)
@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_manifests_keep_the_rule(rule: rules.Rule, folder: str) -> None:
    assert list(rule(rendered(folder))) == []


@pytest.mark.parametrize("folder", RENDERED)
def test_the_manifests_fit_their_schemas(folder: str) -> None:
    assert schema_complaints(rendered(folder)) == []
