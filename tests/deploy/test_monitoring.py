"""Rules and dashboards ask for metrics and labels that there are, and every alert is seen to fire."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from insula.core import metrics
from tests.architecture.sources import ROOT
from tests.deploy.promql import grouped_by, matchers, selectors
from tests.labelled import OTHERS, WORDS, invented

DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))

TARGET = {"job", "instance"}
"""Labels that Prometheus gives to everything it scrapes."""
OF_OTHERS: dict[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertname", "severity", "alertstate"},
}
"""Series of Prometheus itself, with their labels."""
OF_POSTGRES_EXPORTER: dict[str, set[str]] = {
    "pg_up": set(),
    "pg_replica_delay_seconds": set(),
    "pg_settings_max_connections": set(),
    "pg_stat_activity_count": {"datname", "state"},
    "pg_stat_activity_max_tx_duration": {"datname", "state"},
    "pg_stat_database_xact_commit": {"datname"},
    "pg_stat_database_xact_rollback": {"datname"},
    "pg_stat_database_blks_hit": {"datname"},
    "pg_stat_database_blks_read": {"datname"},
    "pg_database_size_bytes": {"datname"},
}
"""Series of postgres_exporter, with the labels that we ask for: test_postgres_exporter.py has seen them."""

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def ours() -> dict[str, set[str]]:
    """Every series that the program makes, with its labels."""
    declared = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    labels = {metric._name: set(metric._labelnames) for metric in declared}
    series: dict[str, set[str]] = {}
    for family in metrics.REGISTRY.collect():
        mine = labels.get(family.name, set())
        match family.type:
            case "histogram":
                series |= {f"{family.name}_bucket": mine | {"le"}}
                series |= {f"{family.name}_{part}": mine for part in ("sum", "count")}
            case "counter":
                series[f"{family.name}_total"] = mine
            case _:
                series[family.name] = mine
    return series


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> dict[str, set[str]]:
    return {rule["record"]: grouped_by(rule["expr"]) for rule in rules() if "record" in rule}


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and what is asked there."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def wrong(expression: str) -> list[str]:
    """What an expression asks for that there is not."""
    known = ours() | recorded() | OF_OTHERS | OF_POSTGRES_EXPORTER
    found = list(selectors(expression))
    unknown = [selector.metric for selector in found if selector.metric not in known]
    labels = {label for selector in found for label in known.get(selector.metric, ())} | TARGET
    unknown += [
        f"{selector.metric}{{{label}}}"
        for selector in found
        for label in sorted(selector.labels - known.get(selector.metric, set()) - TARGET)
    ]
    return unknown + sorted(grouped_by(expression) - labels) + unspelled(expression)


def unspelled(expression: str) -> list[str]:
    """Values of labels, each alternative by itself, that no metric of ours has."""
    return [
        f"{matcher.metric}{{{matcher.label}={alternative}}}"
        for matcher in matchers(expression)
        if (words := spelled(matcher.metric, matcher.label)) is not None
        for alternative in matcher.alternatives
        if not any(re.fullmatch(alternative, word) for word in words)
    ]


def spelled(series: str, label: str) -> set[str] | None:
    metric = re.sub("_(total|bucket|count|sum)$", "", series)
    return (WORDS.get(metric, {}) | OTHERS.get(metric, {})).get(label)


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda part: part[:40])
def test_what_is_asked_for_exists(where: str, expression: str) -> None:
    assert list(selectors(expression)), "an expression without a metric"
    assert wrong(expression) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("sum(rate(http_request_total[5m]))", ["http_request_total"]),
        ("max(dead_letter) > 0", ["dead_letter"]),
        ('rate(http_requests_total{code=~"5.."}[5m])', ["http_requests_total{code}"]),
        ("sum by (tenant) (rate(jobs_total[5m]))", ["tenant"]),
        ("insula:http_faults:ratio_7d > 1", ["insula:http_faults:ratio_7d"]),
        ("db_pool_in_use / db_pool_max", ["db_pool_max"]),
        ('sum(increase(jobs_total{outcome="crash"}[15m])) > 3', ["jobs_total{outcome=crash}"]),
        ('rate(auth_total{outcome=~"refused|anonymous"}[10m])', ["auth_total{outcome=anonymous}"]),
        ('rate(rate_limit_decisions_total{outcome!="alowed"}[5m])', ["rate_limit_decisions_total{outcome=alowed}"]),
        ('rate(http_requests_total{status=~"6..", route!~"/livez"}[5m])', ["http_requests_total{status=6..}"]),
        ('rate(http_request_seconds_bucket{le="0.4"}[5m])', [r"http_request_seconds_bucket{le=0\.4}"]),
    ],
)
def test_the_search_notices_what_does_not_exist(planted: str, found: list[str]) -> None:
    assert wrong(planted) == found


@pytest.mark.parametrize(
    "word", sorted({word for labels in WORDS.values() for words in labels.values() for word in words})
)
def test_every_listed_value_is_spelled_in_the_program(word: str) -> None:
    """`_alone` is put behind an outcome."""
    spelling = re.compile(rf"""["']{word.removesuffix("_alone")}["']""")
    assert any(spelling.search(text) for text in program())


def test_a_value_that_is_not_listed_is_heard_while_tests_run() -> None:
    assert invented() == []
    metrics.JOBS.labels("mail", "crash").inc()
    assert invented() == ["jobs{outcome='crash'}"]
    metrics.JOBS.remove("mail", "crash")


@cache
def program() -> tuple[str, ...]:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "migrations" / "sql").glob("*.sql")]
    return tuple(path.read_text() for path in files)


def test_every_metric_of_ours_is_looked_at() -> None:
    """What nobody sees need not be measured; the process's own, which come with the library, may be."""
    asked = {selector.metric for _, expression in expressions() for selector in selectors(expression)}
    seen = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    unseen = {re.sub("_(bucket|count|sum)$", "", name) for name in ours() if not name.startswith("process_")} - seen
    assert unseen == set()


def test_every_alert_has_a_scenario_in_which_it_fires() -> None:
    scenarios = (PROMETHEUS / "rules.test.yml").read_text()
    fired = set(re.findall(r'alertname="(\w+)", severity="(\w+)"', scenarios))
    alerts = {(rule["alert"], rule["labels"]["severity"]) for rule in rules() if "alert" in rule}
    assert fired == alerts


def test_the_rules_name_jobs_that_are_scraped() -> None:
    jobs = {job["job_name"] for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]}
    named = {job for _, expression in expressions() for job in re.findall(r'job="([\w-]+)"', expression)}
    assert named
    assert named <= jobs


def test_dashboards_have_names_of_their_own() -> None:
    read = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert [board["uid"] for board in read] == [path.stem for path in DASHBOARDS]
    assert len({board["title"] for board in read}) == len(DASHBOARDS) > 0


@pytest.mark.peers
@promtool
@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "--lint-fatal", "rules.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["test", "rules", "rules.test.yml"],
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(command: list[str]) -> None:
    said = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.peers
@promtool
def test_promtool_notices_a_rule_that_was_broken(tmp_path: Path) -> None:
    rules = (PROMETHEUS / "rules.yml").read_text()
    broken = rules.replace("insula:outbox_oldest_seconds:max > 120", "insula:outbox_oldest_seconds:max > 1200")
    assert broken != rules
    (tmp_path / "rules.yml").write_text(broken)
    shutil.copy(PROMETHEUS / "rules.test.yml", tmp_path)
    said = subprocess.run(["promtool", "test", "rules", "rules.test.yml"], cwd=tmp_path, capture_output=True)
    assert said.returncode != 0
