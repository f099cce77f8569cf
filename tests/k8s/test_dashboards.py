"""The dashboards that a cluster gets ask for what the program and CloudNativePG export there, and for nothing else."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.promql import grouped_by, selectors
from tests.deploy.test_monitoring import OF_OTHERS, TARGET, ours, recorded
from tests.k8s.exported import EXPORTED, OF_PODS
from tests.k8s.rendering import ROOT
from tests.k8s.test_alerts import RULES

OF_CLUSTERS: Final = ROOT / "k8s" / "components" / "monitoring" / "insula-database.json"
OF_SERVERS: Final = ROOT / "deploy" / "grafana"


def boards() -> dict[str, dict[str, Any]]:
    """Those of servers, with the one on the database that takes its namesake's place."""
    files = {path.name: path for path in (*OF_SERVERS.glob("*.json"), OF_CLUSTERS)}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items()}


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and what is asked there."""
    for board in boards().values():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{board['title']}: {panel['title']}", target["expr"]


def wrong(expression: str) -> list[str]:
    """What an expression asks for that there is not."""
    known = ours() | recorded() | OF_OTHERS | EXPORTED
    asked = list(selectors(expression))
    found = [each.metric for each in asked if each.metric not in known]
    labels = {label for each in asked for label in known.get(each.metric, ())} | TARGET | OF_PODS
    return found + sorted((grouped_by(expression) | {label for each in asked for label in each.labels}) - labels)


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda part: part[:40])
def test_what_is_asked_for_is_exported(where: str, expression: str) -> None:
    assert list(selectors(expression)), "an expression without a metric"
    assert wrong(expression) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("max by (instance) (pg_replica_delay_seconds)", ["pg_replica_delay_seconds"]),
        ("sum by (pod) (cnpg_backends)", ["cnpg_backends"]),
        ('cnpg_backends_total{database="insula"}', ["database"]),
        ("max by (node) (cnpg_collector_up)", ["node"]),
    ],
)
def test_the_search_notices_what_does_not_exist(planted: str, found: list[str]) -> None:
    assert wrong(planted) == found


def test_of_others_databases_nothing_is_asked() -> None:
    """A Prometheus of the cluster has scraped those too."""
    asked = [each for _, expression in expressions() for each in selectors(expression) if each.metric in EXPORTED]
    assert len(asked) > 15
    assert [each.metric for each in asked if "namespace" not in each.labels] == []


def test_what_is_listed_as_exported_is_what_is_looked_at() -> None:
    asked = {each.metric for _, expression in expressions() for each in selectors(expression)}
    asked |= {each.metric for rule in RULES.values() for each in selectors(rule["expr"])}
    assert asked >= EXPORTED.keys()


def test_it_shows_what_that_of_servers_shows() -> None:
    shown = {panel["title"] for panel in boards()[OF_CLUSTERS.name]["panels"]}
    of_servers = json.loads((OF_SERVERS / OF_CLUSTERS.name).read_text(encoding="utf-8"))
    assert shown >= {panel["title"] for panel in of_servers["panels"]}
    assert boards()[OF_CLUSTERS.name]["uid"] == of_servers["uid"]


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    asked = [expression.replace("$__rate_interval", "5m") for _, expression in expressions()]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    said = subprocess.run(["promtool", "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
