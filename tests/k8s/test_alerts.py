"""The alerts on the database that CloudNativePG runs: they ask for what it exports, and each is seen to fire."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promql import grouped_by, selectors
from tests.k8s.exported import EXPORTED, OF_PODS

FOLDER = Path(__file__).parents[2] / "k8s" / "components" / "monitoring"
SCENARIOS = FOLDER / "cloudnative-pg.test.yaml"
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def group() -> dict[str, Any]:
    resource = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
    (found,) = [each for each in resource["spec"]["groups"] if each["name"] == "cloudnative-pg"]
    return found


RULES = {rule["alert"]: rule for rule in group()["rules"]}


@pytest.mark.parametrize("alert", RULES)
def test_what_is_asked_for_is_exported(alert: str) -> None:
    expression = RULES[alert]["expr"]
    asked = list(selectors(expression))
    assert asked
    for selector in asked:
        assert selector.labels <= EXPORTED[selector.metric] | OF_PODS
        assert grouped_by(expression) <= EXPORTED[selector.metric] | OF_PODS


def test_the_scenarios_are_of_series_that_are_exported() -> None:
    read = yaml.safe_load(SCENARIOS.read_text(encoding="utf-8"))
    series = [each["series"] for scenario in read["tests"] for each in scenario["input_series"]]
    asked = {selector.metric for rule in RULES.values() for selector in selectors(rule["expr"])}
    assert {name.partition("{")[0] for name in series} == asked
    for name in series:
        metric, _, labels = name.partition("{")
        assert set(re.findall(r"(\w+)=", labels)) == EXPORTED[metric] | OF_PODS, name


def test_every_alert_has_a_scenario_in_which_it_fires() -> None:
    fired = set(re.findall(r'alertname="(\w+)", severity="(\w+)"', SCENARIOS.read_text(encoding="utf-8")))
    assert fired == {(name, rule["labels"]["severity"]) for name, rule in RULES.items()}


def promtool_says(folder: Path, rules: dict[str, Any], *command: str) -> tuple[int, str]:
    """promtool's word on these rules, with the scenarios beside them."""
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [rules]}))
    shutil.copy(SCENARIOS, folder)
    said = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, check=False)
    return said.returncode, said.stdout + said.stderr


@pytest.mark.peers
@promtool
@pytest.mark.parametrize(
    "command", [["check", "rules", "--lint-fatal", "rules.yml"], ["test", "rules", SCENARIOS.name]], ids=" ".join
)
def test_promtool_finds_nothing_wrong(command: list[str], tmp_path: Path) -> None:
    status, said = promtool_says(tmp_path, group(), *command)
    assert status == 0, said


@pytest.mark.peers
@promtool
@pytest.mark.parametrize(
    ("alert", "part", "broken"),
    [
        ("PostgresDown", ' or absent(cnpg_collector_up{namespace="insula-data"})', ""),
        ("PostgresDown", "< 1", "< 0"),
        ("PostgresReplicaLate", "> 30", "> 3000"),
        ("PostgresReplicaCutOff", "> max", ">= max"),
        ("PostgresReplicaCutOff", "is_wal_receiver_up", "lag"),
        ("PostgresBackupUnknown", 'unless absent(cnpg_collector_up{namespace="insula-data"})', ""),
        ("PostgresBackupUnknown", '{namespace="insula-data"}', ""),
        ("PostgresBackupLate", "max(", "min("),
        ("PostgresBackupLate", "> 108000", "> 1080000"),
        ("PostgresTransactionForgotten", "idle in transaction.*", "idle in transaction"),
        ("PostgresTransactionForgotten", "active|idle in transaction.*", "active|idle.*"),
        ("PostgresReplicaLate", '{namespace="insula-data"}', ""),
    ],
)
def test_promtool_notices_a_rule_that_was_broken(alert: str, part: str, broken: str, tmp_path: Path) -> None:
    rules = group()
    (rule,) = [rule for rule in rules["rules"] if rule["alert"] == alert]
    assert part in rule["expr"]
    rule["expr"] = rule["expr"].replace(part, broken, 1)
    status, said = promtool_says(tmp_path, rules, "test", "rules", SCENARIOS.name)
    assert status != 0
    assert "FAILED" in said
