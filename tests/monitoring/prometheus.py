"""A real Prometheus for tests, with the real rules at 1/60 of their time.

    with running_prometheus(folder, target="127.0.0.1:8100") as prometheus:
        prometheus.query("up"), prometheus.firing()
"""

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.monitoring.rules import Terms, write_rules
from tests.harness import eventually

SCALE = 60
SCRAPE = "500ms"
# A minute is a second here: a machine that stands still for so long looks like these.
STALLS = {
    "TollkeeperDown", "TollkeeperProxySlow", "TollkeeperAdminSlow", "TollkeeperTraceLag", "TollkeeperDatabaseDown",
    "TollkeeperRedisDown", "TollkeeperLedgerDegraded", "TollkeeperUpstreamUnavailable", "TollkeeperEndpointDown",
    "TollkeeperErrorRate", "TollkeeperErrorBudgetFast", "TollkeeperErrorBudgetSlow",
}  # fmt: skip

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus"
)


class Prometheus:
    """One process, which scrapes `target` as the job tollkeeper twice a second, and evaluates as often."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        rules = folder / "rules.yaml"
        rules.write_text(write_rules(Terms(SCALE)))
        job = {"job_name": "tollkeeper", "static_configs": [{"targets": [target]}]}
        timing = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE}
        document = {"global": timing, "rule_files": [str(rules)], "scrape_configs": [job]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(document))
        with open(folder / "prometheus.log", "ab") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address={self.address}", "--log.level=warn"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Until it has scraped the gateway."""

        def scrapes() -> bool:
            assert self.process.poll() is None, (self._folder / "prometheus.log").read_text()
            with contextlib.suppress(OSError):
                return bool(self.query('up{job="tollkeeper"} == 1'))
            return False

        eventually(scrapes, 60.0, "Prometheus scrapes the gateway")

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression, now. Raises OSError."""
        found: list[dict[str, Any]] = self._get("query", query=expr)["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """All that are pending or firing."""
        found: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return found

    def firing(self) -> set[str]:
        """Names of alerts."""
        return {alert["labels"]["alertname"] for alert in self.alerts() if alert["state"] == "firing"}

    def await_firing(self, *names: str, within: float = 90.0) -> None:
        """Until all of these have fired."""
        eventually(lambda: set(names) <= self.firing(), within, f"{names} fire")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _get(self, what: str, **arguments: str) -> dict[str, Any]:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
            return data


@contextlib.contextmanager
def running_prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """One that has scraped `target` (host:port of a gateway's status address) at least once."""
    place = folder / "prometheus"
    place.mkdir()
    prometheus = Prometheus(place, target)
    try:
        prometheus.wait_ready()
        yield prometheus
    finally:
        prometheus.stop()
