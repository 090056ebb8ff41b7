"""A real Prometheus for tests, with the real rules in a shorter time.

with running_prometheus(folder, "127.0.0.1:8100", scale=60) as prometheus:
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

# A minute is a few seconds here: a machine that stands still for so long looks like these.
STALLS = {
    "TollkeeperDown", "TollkeeperProxySlow", "TollkeeperAdminSlow", "TollkeeperTraceLag", "TollkeeperDatabaseDown",
    "TollkeeperRedisDown", "TollkeeperLedgerDegraded", "TollkeeperUpstreamUnavailable", "TollkeeperEndpointDown",
    "TollkeeperErrorRate", "TollkeeperErrorBudgetFast", "TollkeeperErrorBudgetSlow",
}  # fmt: skip

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus"
)


class Prometheus:
    """One process, which scrapes `target` as the job tollkeeper. At `scale` 60 a minute is a second, to it as well."""

    def __init__(self, folder: Path, target: str, scale: int) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        rules = folder / "rules.yaml"
        rules.write_text(write_rules(Terms(scale)))
        job = {"job_name": "tollkeeper", "static_configs": [{"targets": [target]}]}
        often = f"{30_000 // scale}ms"
        timing = {"scrape_interval": often, "scrape_timeout": often, "evaluation_interval": often}
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

        eventually(scrapes, 120.0, "Prometheus scrapes the gateway")

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

    def await_firing(self, *names: str, within: float = 180.0) -> list[dict[str, Any]]:
        """The alerts that fire once all of these do."""

        def look() -> list[dict[str, Any]]:
            found = [alert for alert in self.alerts() if alert["state"] == "firing"]
            return found if set(names) <= {alert["labels"]["alertname"] for alert in found} else []

        firing: list[dict[str, Any]] = eventually(look, within, f"{names} fire")
        return firing

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _get(self, what: str, **arguments: str) -> dict[str, Any]:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
            return data


@contextlib.contextmanager
def running_prometheus(folder: Path, target: str, scale: int) -> Iterator[Prometheus]:
    """One that has scraped `target` (host:port of a gateway's status address) at least once."""
    place = folder / "prometheus"
    place.mkdir()
    prometheus = Prometheus(place, target, scale)
    try:
        prometheus.wait_ready()
        yield prometheus
    finally:
        prometheus.stop()
