"""Nothing in production goes from pod to pod in the clear, and whoever is spoken to shows a certificate in its name."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from insula.settings import LOGINS
from insula.unsafe import unsafe
from tests.k8s.rendering import QUEUES, REPLICAS, ROOT, Manifest, containers, named, of_kind, one, pod, rendered

pytestmark = pytest.mark.peers

PRODUCTION = ("overlays/production", QUEUES, REPLICAS)
FILES = "/run/secrets/tls"
FIELDS = {login: field for field, login in reversed(LOGINS.items())} | {"app_migrator": "owner_database_url"}


def faults_of(manifests: list[Manifest]) -> Iterator[str]:
    """Whatever is not encrypted, or cannot be verified."""
    yield from addresses_that_do_not_verify(manifests)
    yield from probes_that_are_not_answered(manifests)
    yield from monitors_in_the_clear(manifests)
    yield from servers_in_the_clear(manifests)
    yield from gateways_that_believe_anybody(manifests)
    yield from names_that_nobody_signs(manifests)
    for settings in of_kind(manifests, "ConfigMap"):
        if settings["data"].get("INSULA_TRUSTED_NETWORK") or settings["data"].get("INSULA_ENVIRONMENT") == "embedded":
            yield f"{named(settings)}: the program does not insist"


def addresses(manifests: list[Manifest]) -> Iterator[tuple[str, str]]:
    """Each address in a Secret, and whose Secret it is."""
    for made in of_kind(manifests, "ExternalSecret"):
        for url in made["spec"]["target"].get("template", {}).get("data", {}).values():
            if "://" in url:
                yield named(made), re.sub(r"{{.*?}}", "word", url)


def addresses_that_do_not_verify(manifests: list[Manifest]) -> Iterator[str]:
    for whose, url in addresses(manifests):
        of_postgres = url.startswith("postgresql:")
        field = FIELDS[urlsplit(url).username or ""] if of_postgres else "redis_url"
        yield from (f"{whose}: {wrong}" for wrong in unsafe({"environment": "production", field: url}))
        if f"{'sslrootcert' if of_postgres else 'ssl_ca_certs'}={FILES}/ca.crt" not in url:
            yield f"{whose}: believes others than the authority of the inside"


def probes_that_are_not_answered(manifests: list[Manifest]) -> Iterator[str]:
    """Who speaks TLS answers no plain HTTP, and the other way round."""
    for whose, spec, container in containers(manifests):
        names = {each["name"] for each in container.get("env", [])}
        serves = {"INSULA_TLS_CERTIFICATE_FILE", "INSULA_TLS_KEY_FILE"} <= names
        if not serves and whose.startswith("Deployment insula/"):
            yield f"{whose}: serves without a certificate"
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(kind, {}).get("httpGet", {})
            if asked and (asked.get("scheme") == "HTTPS") is not serves:
                yield f"{whose}: {kind} by {asked.get('scheme', 'HTTP')}"
        if serves and FILES not in {each["mountPath"] for each in container["volumeMounts"]}:
            yield f"{whose}: has no certificate, of {len(spec['volumes'])} volumes"


def monitors_in_the_clear(manifests: list[Manifest]) -> Iterator[str]:
    made = {
        (each["metadata"]["namespace"], each["spec"]["secretName"]): each for each in of_kind(manifests, "Certificate")
    }
    for monitor in of_kind(manifests, "PodMonitor"):
        for asked in monitor["spec"]["podMetricsEndpoints"]:
            secret = asked.get("tlsConfig", {}).get("ca", {}).get("secret", {})
            signed = made.get((monitor["metadata"]["namespace"], secret.get("name")), {"spec": {"dnsNames": []}})
            if asked.get("scheme") != "https" or asked["tlsConfig"].get("serverName") not in signed["spec"]["dnsNames"]:
                yield f"{named(monitor)}: in the clear, or from anybody"


def servers_in_the_clear(manifests: list[Manifest]) -> Iterator[str]:
    for settings in of_kind(manifests, "ConfigMap"):
        for name, text in settings["data"].items():
            if name.endswith(".sh") and not {"--port 0", "--tls-port", "--tls-auth-clients no"} <= said(text):
                yield f"{name}: takes plain connections"
            if name in {"node.sh", "sentinel.sh"} and "--tls-replication yes" not in text:
                yield f"{name}: copies in the clear"
            if name == "haproxy.cfg" and "check-ssl verify required ca-file" not in text:
                yield f"{name}: asks in the clear"
    (cluster,) = of_kind(manifests, "Cluster")
    if "hostnossl all all all reject" not in cluster["spec"]["postgresql"]["pg_hba"]:
        yield "PostgreSQL takes plain connections"
    if not cluster["spec"].get("monitoring", {}).get("tls", {}).get("enabled"):
        yield "PostgreSQL tells its metrics in the clear"


def said(text: str) -> set[str]:
    return {word for word in ("--port 0", "--tls-port", "--tls-auth-clients no") if word in text}


def gateways_that_believe_anybody(manifests: list[Manifest]) -> Iterator[str]:
    policies = {each["name"]: policy for policy in of_kind(manifests, "BackendTLSPolicy") for each in targets(policy)}
    for route in of_kind(manifests, "HTTPRoute"):
        plain = route["spec"]["parentRefs"][0]["sectionName"] == "http"
        for rule in route["spec"]["rules"]:
            for behind in rule.get("backendRefs", []):
                if plain or behind["name"] not in policies:
                    yield f"{named(route)}: to {behind['name']} in the clear"
            paths = [(each["path"]["type"], each["path"]["value"]) for each in rule.get("matches", [])]
            if plain and (not paths or any(kind != "Exact" for kind, _ in paths)):
                yield f"{named(route)}: leads programs to https"


def targets(policy: Manifest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policy["spec"]["targetRefs"]
    return found


def names_that_nobody_signs(manifests: list[Manifest]) -> Iterator[str]:
    signed = {
        name
        for each in of_kind(manifests, "Certificate")
        if each["spec"]["issuerRef"]["name"] == "insula-inside"
        for name in each["spec"]["dnsNames"]
    }
    asked = {urlsplit(url).hostname for _, url in addresses(manifests)}
    asked |= {each["spec"]["validation"]["hostname"] for each in of_kind(manifests, "BackendTLSPolicy")}
    yield from (f"nobody vouches for {name}" for name in asked - signed)


@pytest.mark.parametrize("folder", PRODUCTION)
def test_everything_inside_is_encrypted_and_verified(folder: str) -> None:
    assert list(faults_of(rendered(folder))) == []


def address(secret: str, ours: str, other: str) -> Callable[[list[Manifest]], None]:
    def plant(manifests: list[Manifest]) -> None:
        told = one(manifests, "ExternalSecret", secret)["spec"]["target"]["template"]["data"]
        assert ours in told["url"]
        told["url"] = told["url"].replace(ours, other)

    return plant


def probe(workload: str) -> Callable[[list[Manifest]], None]:
    def plant(manifests: list[Manifest]) -> None:
        (container,) = pod(one(manifests, "Deployment", workload))["containers"]
        container["livenessProbe"]["httpGet"]["scheme"] = "HTTP"

    return plant


def script(name: str, ours: str, other: str = "") -> Callable[[list[Manifest]], None]:
    def plant(manifests: list[Manifest]) -> None:
        (data,) = [each["data"] for each in of_kind(manifests, "ConfigMap") if name in each["data"]]
        assert ours in data[name]
        data[name] = data[name].replace(ours, other)

    return plant


def without_a_certificate(manifests: list[Manifest]) -> None:
    (container,) = pod(one(manifests, "Deployment", "worker"))["containers"]
    container["env"] = [each for each in container["env"] if "_TLS_" not in each["name"]]


def believing_another_name(manifests: list[Manifest]) -> None:
    endpoint = one(manifests, "PodMonitor", "insula")["spec"]["podMetricsEndpoints"][0]
    endpoint["tlsConfig"]["serverName"] = "worker.insula.svc"


def trusting(manifests: list[Manifest]) -> None:
    (settings,) = [each for each in of_kind(manifests, "ConfigMap") if "INSULA_BASE_URL" in each["data"]]
    settings["data"]["INSULA_TRUSTED_NETWORK"] = "true"


def leading(manifests: list[Manifest]) -> None:
    one(manifests, "HTTPRoute", "to-https")["spec"]["rules"][0]["matches"][0]["path"]["type"] = "PathPrefix"


FAULTS: dict[str, Callable[[list[Manifest]], object]] = {
    "sslmode=require": address("insula-app-rw", "verify-full", "require"),
    "a migrator in the clear": address("insula-app-migrator", "?sslmode=verify-full", "?sslmode=disable"),
    "a database by the system's authorities": address("insula-app-identity", f"&sslrootcert={FILES}/ca.crt", ""),
    "a queue in the clear": address("insula-redis", "rediss:", "redis:"),
    "a cache of anybody's": address("insula-cache", "?ssl_ca_certs", "?ssl_cert_reqs=none&ssl_ca_certs"),
    "a database under a name that nobody signs": address("insula-app-rw", "insula-pooler-rw.", "insula-pooler."),
    "a probe of the API by HTTP": probe("api"),
    "a probe of the workers by HTTP": probe("worker"),
    "workers without a certificate": without_a_certificate,
    "metrics in the clear": lambda each: one(each, "PodMonitor", "insula")["spec"]["podMetricsEndpoints"][0].update(
        scheme="http"
    ),
    "the database's metrics in the clear": lambda each: one(each, "PodMonitor", "postgres")["spec"][
        "podMetricsEndpoints"
    ][0].pop("scheme"),
    "metrics of another name": believing_another_name,
    "a gateway that speaks plain HTTP": lambda each: each.remove(one(each, "BackendTLSPolicy", "api")),
    "programs led to https": leading,
    "nodes with a plain port": script("node.sh", "--port 0"),
    "replicas that copy in the clear": script("node.sh", "--tls-replication yes"),
    "sentinels with a plain port": script("sentinel.sh", "--port 0", "--port 26379"),
    "a cache with a plain port": script("cache.sh", "--port 0"),
    "a proxy that believes anybody": script("haproxy.cfg", "verify required", "verify none"),
    "a network that is trusted": trusting,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    manifests = rendered("overlays/production")
    FAULTS[fault](manifests)
    assert list(faults_of(manifests))


def test_a_restored_cluster_is_believed_like_the_first() -> None:
    first = one(rendered("overlays/production"), "Cluster", "insula")["spec"]
    restored = yaml.safe_load((ROOT / "k8s" / "components" / "backups" / "restore.yaml").read_text())["spec"]
    for part in ("certificates", "monitoring"):
        assert restored[part] == first[part]
    certificate = one(rendered("overlays/production"), "Certificate", "postgres")["spec"]
    assert {"insula-rw.insula-data.svc", "insula-restored-rw.insula-data.svc"} <= set(certificate["dnsNames"])
    assert first["certificates"]["serverTLSSecret"] == certificate["secretName"]
