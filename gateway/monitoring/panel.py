"""Dashboards as Grafana wants them (schema 39: Grafana 10 and newer), from what matters: titles, units and queries.

Queries name metrics without their prefix; each is narrowed to the instances that the reader has chosen.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

WIDTH = 24  # columns of a dashboard
_RATE = "$__rate_interval"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Unit = Literal["short", "reqps", "cps", "s", "bytes", "percentunit", "dtdurations"]


class Query(msgspec.Struct, frozen=True):
    """`legend` is a template such as `{{model}}`."""

    expr: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One graph, one number (`stat`), one strip of states (`states`, with their names), or one remark (`text`)."""

    title: str
    queries: tuple[Query, ...] = ()
    unit: Unit = "short"
    kind: Literal["graph", "stat", "states", "text"] = "graph"
    width: int = 8
    height: int = 7
    is_stacked: bool = False
    names: tuple[str, ...] = ()  # of the states 0, 1, 2 …
    note: str = ""  # what a reader should know


class Dashboard(msgspec.Struct, frozen=True):
    """`rows` are headings and their panels. The uid is what links hold on to."""

    uid: str
    title: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    @property
    def panels(self) -> Iterator[Panel]:
        return (panel for _, panels in self.rows for panel in panels)


def select(metric: str, where: str = "") -> str:
    """The series of a metric; `where` holds matchers."""
    matchers = ",".join(filter(None, ('instance=~"$instance"', where)))
    return f"tollkeeper_{metric}{{{matchers}}}"


def total(metric: str, by: str = "", where: str = "") -> str:
    """A gauge, summed."""
    return f"sum by ({by}) ({select(metric, where)})" if by else f"sum({select(metric, where)})"


def rate(metric: str, by: str = "", where: str = "") -> str:
    """How much a counter grows in a second."""
    grown = f"rate({select(metric, where)}[{_RATE}])"
    return f"sum by ({by}) ({grown})" if by else f"sum({grown})"


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """What `share` of all observations stay below."""
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', ', '.join(filter(None, ('le', by))), where)})"


def write_dashboard(dashboard: Dashboard) -> str:
    """The JSON that Grafana imports."""
    return json.dumps(_make(dashboard), indent=1, ensure_ascii=False) + "\n"


def _make(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["tollkeeper"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "tags": ["tollkeeper"], "title": "Tollkeeper", "keepTime": True}],
        "panels": list(_lay_out(dashboard)),
    }


def _variables() -> list[dict[str, Any]]:
    instances = 'label_values(up{job="tollkeeper"}, instance)'
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "instance", "type": "query", "label": "Instance", "datasource": _SOURCE, "refresh": 2,
            "query": {"query": instances, "refId": "instance"}, "definition": instances,
            "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
        },
    ]  # fmt: skip


def _lay_out(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Panels from left to right; a heading begins a new line."""
    number = y = 0
    for heading, panels in dashboard.rows:
        number += 1
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": heading, "collapsed": False, "gridPos": place, "panels": []}
        x, y, deepest = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y, deepest = 0, y + deepest, 0
            number += 1
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield {"id": number, "title": panel.title, "gridPos": place, **_draw(panel)}
            x, deepest = x + panel.width, max(deepest, panel.height)
        y += deepest


def _draw(panel: Panel) -> dict[str, Any]:
    if panel.kind == "text":
        return {"type": "text", "options": {"mode": "markdown", "content": panel.note}}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "custom": _custom(panel)}
    if panel.names:
        options = {str(value): {"text": name, "index": value} for value, name in enumerate(panel.names)}
        defaults["mappings"] = [{"type": "value", "options": options}]
    return {
        "type": {"graph": "timeseries", "stat": "stat", "states": "state-timeline"}[panel.kind],
        "description": panel.note,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": query.expr, "legendFormat": query.legend}
            for at, query in enumerate(panel.queries)
        ],
    }


def _custom(panel: Panel) -> dict[str, Any]:
    if panel.kind != "graph":
        return {}
    stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
    return {"fillOpacity": 30 if panel.is_stacked else 8, "lineWidth": 1, "showPoints": "never", "stacking": stacking}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "area"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}} if panel.kind == "graph" else {
        "legend": legend, "showValue": "auto", "mergeValues": True
    }  # fmt: skip
