"""A real Prometheus watches a real gateway: silent while all is well, told of real faults, and able to draw them."""

import itertools
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.session import Refused
from gateway.monitoring.dashboards import DASHBOARDS
from tests.harness import Gateway
from tests.monitoring.prometheus import STALLS, Prometheus, needs_prometheus
from tests.monitoring.scene import Scene, watched_gateway
from tests.monitoring.scenery import Client, traffic
from tests.monitoring.test_rules import needs_promtool, promtool

pytestmark = needs_prometheus

SCALE = 20
MACHINE = {"TollkeeperDiskNearlyFull"}  # that the tests run on
HEALTHY = " and on () ".join(
    f'sum(tollkeeper_requests_total{{model="{model}",status="2xx"}}) > 10'
    for model in ("echo", "cold", "distant", "spared")
)


def exposition(gateway: Gateway) -> str:
    with urllib.request.urlopen(f"{gateway.status_url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


@needs_promtool
def test_health_three_faults_and_every_query(tmp_path: Path) -> None:
    with watched_gateway(tmp_path, SCALE) as scene:
        assert await_health(scene) <= STALLS | MACHINE
        promtool("check", "metrics", given=exposition(scene.gateway))

        scene.upstream.stop()
        scene.redis.kill()
        scene.gateway.file.write_text("routes: nonsense")
        with pytest.raises(Refused):
            scene.gateway.reload()
        check_texts(
            scene.prometheus.await_firing(
                "TollkeeperUpstreamUnavailable", "TollkeeperRedisDown", "TollkeeperReloadFailed"
            )
        )
        check_queries(scene)


def await_health(scene: Scene) -> set[str]:
    """What fires until all kinds of requests have been answered."""
    fired: set[str] = set()
    deadline = time.monotonic() + 120
    while not scene.prometheus.query(HEALTHY):
        fired |= scene.prometheus.firing()
        assert time.monotonic() < deadline, scene.gateway.log
        time.sleep(0.2)
    return fired


def check_texts(alerts: list[dict[str, Any]]) -> None:
    """Templates are filled in."""
    for alert in alerts:
        text = " ".join(alert["annotations"].values())
        assert not any(mark in text for mark in ("<error", "{{", "<no value>")), text
    (gone,) = [one for one in alerts if one["labels"]["alertname"] == "TollkeeperUpstreamUnavailable"]
    assert gone["labels"]["severity"] == "critical"
    assert "No endpoint of there is used" in gone["annotations"]["description"]
    assert gone["annotations"]["runbook_url"] == "monitoring/README.md#tollkeeperupstreamunavailable"


def check_queries(scene: Scene) -> None:
    """Each of every dashboard finds something, now that all kinds of things have happened."""
    queries = {query.expr for board in DASHBOARDS.values() for panel in board.panels for query in panel.queries}
    assert len(queries) > 50
    deaths = itertools.count()

    def die(client: Client) -> None:
        client.chat(text=f"death {next(deaths)}", echo={"fail": "exit"})

    gateway = scene.gateway
    with (
        traffic(gateway.url, gateway.key("free"), Client.chat),
        traffic(gateway.url, gateway.key("open"), die, pause=3),
    ):
        deadline = time.monotonic() + 120
        while queries := {expr for expr in queries if not draws(scene.prometheus, expr)}:
            assert time.monotonic() < deadline, queries
            time.sleep(0.5)


def draws(prometheus: Prometheus, expr: str) -> bool:
    """Whether there is something to see, asked as Grafana does for all instances."""
    found = prometheus.query(expr.replace("$instance", ".*").replace("$__rate_interval", "30s"))
    return any(series["value"][1] != "NaN" for series in found)
