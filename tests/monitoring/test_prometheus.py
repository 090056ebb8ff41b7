"""A real Prometheus watches a real gateway: silent while all is well, and told of real faults."""

import urllib.request
from pathlib import Path

import pytest

from gateway.cli.session import Refused
from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.monitoring.prometheus import Prometheus, needs_prometheus, running_prometheus
from tests.monitoring.scenery import Upstream, traffic
from tests.monitoring.test_rules import needs_promtool, promtool

# A minute is a second here: a machine that stands still for so long looks like these. `make proof` is stricter.
STALLS = {"TollkeeperDown", "TollkeeperProxySlow", "TollkeeperTraceLag", "TollkeeperDatabaseDown"}

HEALTHY = 'increase(tollkeeper_requests_total{model="distant"}[1m]) > 5 and on () count_over_time(up[1m]) > 10'


def document(upstream: Upstream) -> Document:
    check = {"path": "/health", "interval": "100ms", "unhealthy": 2}
    backends = {
        "echo": {"echo": {}, "slots": 8},
        "there": {"http": {"endpoints": [{"url": upstream.url}], "health": check}},
    }
    models = {"echo": {"backend": "echo"}, "distant": {"backend": "there"}}
    return config(backends=backends, models=models, routes=[{"path": "/v1/chat/completions"}])


def exposition(gateway: Gateway) -> str:
    with urllib.request.urlopen(f"{gateway.status_url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def has_fired(prometheus: Prometheus) -> set[str]:
    """Every alert that ever did."""
    series = prometheus.query('max_over_time(ALERTS{alertstate="firing"}[10m])')
    return {one["metric"]["alertname"] for one in series}


@needs_prometheus
@needs_promtool
def test_three_faults_are_told_and_a_healthy_gateway_is_silent(tmp_path: Path) -> None:
    upstream = Upstream()
    try:
        with running_gateway(document(upstream)) as gateway:
            target = gateway.status_url.removeprefix("http://")
            with (
                running_prometheus(tmp_path, target) as prometheus,
                traffic(gateway.url, gateway.key("open"), lambda c: c.chat(), lambda c: c.chat("distant")),
            ):
                eventually(lambda: prometheus.query(HEALTHY), 60.0, "healthy traffic")
                promtool("check", "metrics", given=exposition(gateway))
                assert has_fired(prometheus) <= STALLS

                upstream.stop()
                gateway.file.write_text("routes: nonsense")
                with pytest.raises(Refused):
                    gateway.reload()
                prometheus.await_firing("TollkeeperUpstreamUnavailable", "TollkeeperReloadFailed")
                check_texts(prometheus, upstream)

                gateway.kill()
                prometheus.await_firing("TollkeeperDown")
    finally:
        upstream.stop()


def check_texts(prometheus: Prometheus, upstream: Upstream) -> None:
    """Templates are filled in."""
    for alert in prometheus.alerts():
        text = " ".join(alert["annotations"].values())
        assert not any(mark in text for mark in ("<error", "{{", "<no value>")), text
    (gone,) = [one for one in prometheus.alerts() if one["labels"]["alertname"] == "TollkeeperUpstreamUnavailable"]
    assert gone["labels"]["severity"] == "critical"
    assert "No endpoint of there is used" in gone["annotations"]["description"]
    assert gone["annotations"]["runbook_url"] == "monitoring/README.md#tollkeeperupstreamunavailable"
