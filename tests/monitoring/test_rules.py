"""The alerts as they are shipped: their true windows tried by promtool, their files, their runbooks."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.metrics import METRICS
from gateway.monitoring.alerts import ALERTS
from gateway.monitoring.rules import Terms, write_manifests, write_rules
from tests.monitoring.cases import CASES, FAILED, Case, errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "monitoring" / "README.md").read_text("utf-8")

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")


def promtool(*arguments: str, given: str = "") -> str:
    """What it prints; it must be content."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def moments(case: Case, is_bad: bool) -> list[dict[str, Any]]:
    """Whether the alert fires: shortly before its time it never does."""
    times = {max(0, 60 * case.wait - 30): False, 60 * case.wait + 60: is_bad}
    return [moment(case.alert, time, fires) for time, fires in times.items()]


def moment(alert: str, time: int, fires: bool) -> dict[str, Any]:
    """`time` is seconds from the beginning."""
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {"expr": firing, "eval_time": f"{time}s", "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}


def unit_test(case: Case, is_bad: bool) -> dict[str, Any]:
    series = case.bad if is_bad else case.good
    return {
        "name": f"{case.alert} {'fires' if is_bad else 'is silent'}",
        "interval": "30s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": moments(case, is_bad),
    }


def errors_that_end() -> dict[str, Any]:
    """The short window of a pair ends the alert, however much of the long one is left."""
    series = {**errors(0), FAILED: "0+1000x10 10000x100"}
    return {
        "name": "errors that end",
        "interval": "30s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            moment("TollkeeperErrorBudgetFast", 300, True), moment("TollkeeperErrorBudgetFast", 720, False)
        ],
    }  # fmt: skip


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == {alert.name for alert in ALERTS}
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(write_rules(Terms()))
    tests = [*(unit_test(case, is_bad) for case in CASES for is_bad in (True, False)), errors_that_end()]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    promtool("test", "rules", str(tmp_path / "tests.yaml"))


@needs_promtool
@pytest.mark.parametrize("scale", [1, 60])
def test_prometheus_takes_the_rules(tmp_path: Path, scale: int) -> None:
    (tmp_path / "rules.yaml").write_text(write_rules(Terms(scale)))
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yaml"))


def test_a_scale_shortens_every_wait() -> None:
    def waits(scale: float) -> list[str]:
        return re.findall(r"\[\w+\]|for: \w+|(?<=seconds > )\d+$", write_rules(Terms(scale)), re.MULTILINE)

    def seconds(wait: str) -> float:
        units = {"d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
        number, unit = re.findall(r"(\d+)([a-z]*)", wait)[0]
        return int(number) * units.get(unit, 1)

    assert [seconds(wait) for wait in waits(60)] == [seconds(wait) / 60 for wait in waits(1)]
    assert len(waits(1)) > len(ALERTS)


def test_what_is_shipped_is_what_the_code_says() -> None:
    assert (ROOT / "monitoring" / "alerts.yaml").read_text("utf-8") == write_rules(Terms()), "stale: make monitoring"
    manifests = (ROOT / "k8s" / "monitoring" / "monitoring.yaml").read_text("utf-8")
    assert manifests == write_manifests(Terms()), "stale: make monitoring"


def test_the_manifests_scrape_the_pods_and_hold_the_same_rules() -> None:
    service, monitor, rules = yaml.safe_load_all(write_manifests(Terms()))
    pod = yaml.safe_load((ROOT / "k8s" / "statefulset.yaml").read_text())["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    proxy = yaml.safe_load((ROOT / "k8s" / "service.yaml").read_text())
    assert not monitor["spec"]["selector"]["matchLabels"].items() <= proxy["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["interval"] == "30s"
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "tollkeeper"  # what the alerts call it
    assert rules["spec"] == yaml.safe_load(write_rules(Terms()))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_its_runbook(alert: Any) -> None:
    rule = alert.rule(1, "monitoring/README.md")
    assert rule["annotations"]["runbook_url"] == f"monitoring/README.md#{alert.name.lower()}"
    section = re.search(rf"^### {alert.name}\n(.*?)(?=^### |\Z)", README, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert re.findall(r"^- \*\*(\w+):\*\* \S", section[1], re.MULTILINE) == ["Means", "Look", "Do"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_alerts_ask_for_metrics_that_exist(alert: Any) -> None:
    known = {f"tollkeeper_{metric.name}{end}" for metric in METRICS for end in ("", "_bucket", "_sum", "_count")}
    assert set(re.findall(r"tollkeeper_\w+", alert.expr)) <= known


def test_options_reach_the_rules() -> None:
    text = write_rules(Terms(free="trial|edu", runbooks="https://wiki.example.com/gateway"))
    assert 'tier!~"trial|edu"' in text
    assert "https://wiki.example.com/gateway#tollkeeperdown" in text
