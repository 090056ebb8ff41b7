"""The dashboards as Grafana would read them. That their queries find something is tried with a real Prometheus."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.metrics import BY_NAME, METRICS
from gateway.monitoring.dashboards import DASHBOARDS
from gateway.monitoring.panel import WIDTH, write_dashboard

FOLDER = Path(__file__).parents[2] / "monitoring" / "dashboards"
named = pytest.mark.parametrize("name", DASHBOARDS)


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_dashboard(DASHBOARDS[name]))
    return document


@named
def test_what_is_shipped_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text("utf-8") == write_dashboard(DASHBOARDS[name]), "stale: make monitoring"


def test_nothing_else_is_shipped() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(DASHBOARDS)


def test_links_to_dashboards_are_unique() -> None:
    uids = [load(name)["uid"] for name in DASHBOARDS]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[a-z-]{1,40}", uid) for uid in uids)


@named
def test_panels_have_what_grafana_asks_for(name: str) -> None:
    document = load(name)
    assert document["schemaVersion"] >= 36
    assert [variable["name"] for variable in document["templating"]["list"]] == ["datasource", "instance"]
    ids = [panel["id"] for panel in document["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in document["panels"]:
        assert panel["title"]
        if panel["type"] in ("row", "text"):
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references)
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert "$__rate_interval" in target["expr"] or "rate(" not in target["expr"]


@named
def test_no_panel_covers_another(name: str) -> None:
    places = [panel["gridPos"] for panel in load(name)["panels"]]
    for place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= WIDTH
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@named
def test_queries_name_metrics_and_labels_that_exist(name: str) -> None:
    ends = ("", "_bucket", "_sum", "_count")
    known = {f"tollkeeper_{metric.name}{end}": metric for metric in METRICS for end in ends}
    for panel in DASHBOARDS[name].panels:
        for query in panel.queries:
            used = [known[metric] for metric in re.findall(r"tollkeeper_\w+", query.expr)]
            assert used or query.expr.startswith("vector"), query
            labels = {"instance", "le", *itertools.chain.from_iterable(metric.labels for metric in used)}
            for group in re.findall(r"by \(([^)]*)\)", query.expr):
                assert set(re.split(r",\s*", group)) <= labels, query
            assert set(re.findall(r"{{(\w+)}}", query.legend)) <= labels, query
            assert set(re.findall(r"(\w+)(?:=~|!=|=)\"", query.expr)) <= labels, query


def test_what_matters_is_shown_somewhere() -> None:
    shown = " ".join(query.expr for board in DASHBOARDS.values() for panel in board.panels for query in panel.queries)
    for name in ("requests_total", "request_seconds", "overhead_seconds", "first_token_seconds", "queue_seconds",
                 "upstream_seconds", "load_seconds", "tokens_total", "rejected_total", "upstream_errors_total",
                 "quota_used_ratio", "engine_state", "queue_depth", "ledger_up", "ledger_seconds", "store_up",
                 "trace_lag_seconds", "trace_dropped_total"):  # fmt: skip
        assert name in BY_NAME and f"tollkeeper_{name}" in shown
