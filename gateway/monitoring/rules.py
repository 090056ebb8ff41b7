"""The alerts as files: Prometheus' rules, and the two manifests of its operator on Kubernetes."""

from typing import Any

import msgspec
import yaml

from gateway.monitoring.alerts import GROUPS

RUNBOOKS = "monitoring/README.md"
FREE = "free|anonymous"  # tiers that nobody pays for
SCRAPE = "30s"

_HEAD = "# Made by `make monitoring`.\n"
_LABELS = {"app.kubernetes.io/name": "tollkeeper"}


class Terms(msgspec.Struct, frozen=True):
    """`scale` divides every window. `runbooks` is where monitoring/README.md is read. `free`: tiers, as a pattern."""

    scale: float = 1.0
    runbooks: str = RUNBOOKS
    free: str = FREE


def write_rules(terms: Terms) -> str:
    """A rule file for Prometheus."""
    return _HEAD + _dump(_make_groups(terms))


def write_manifests(terms: Terms) -> str:
    """A Service for the status port, a ServiceMonitor of it, and the rules as a PrometheusRule."""
    port = {"name": "status", "port": 8100, "targetPort": "status"}
    service = _manifest("v1", "Service", "tollkeeper-status", {"clusterIP": "None", "ports": [port]})
    service["metadata"]["labels"] = {**_LABELS, "app.kubernetes.io/component": "status"}
    service["spec"] |= {"selector": _LABELS, "publishNotReadyAddresses": True}
    monitor = _manifest("monitoring.coreos.com/v1", "ServiceMonitor", "tollkeeper", {
        "jobLabel": "app.kubernetes.io/name",
        "selector": {"matchLabels": dict(service["metadata"]["labels"])},
        "endpoints": [{"port": "status", "path": "/metrics", "interval": SCRAPE}],
    })  # fmt: skip
    rules = _manifest("monitoring.coreos.com/v1", "PrometheusRule", "tollkeeper", _make_groups(terms))
    return _HEAD + "---\n".join(map(_dump, (service, monitor, rules)))


def _make_groups(terms: Terms) -> dict[str, Any]:
    groups = []
    for name, alerts in GROUPS.items():
        rules = [alert.rule(terms.scale, terms.runbooks) for alert in alerts]
        for rule in rules:
            rule["expr"] = rule["expr"].replace("$free", terms.free)
        groups.append({"name": f"tollkeeper-{name}", "rules": rules})
    return {"groups": groups}


def _manifest(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(_LABELS)}, "spec": spec}


def _dump(document: dict[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=1000, allow_unicode=True)
    return text


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
