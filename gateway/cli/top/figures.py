"""From two looks at the metrics to figures per second. Pure: plain data in, values out."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from gateway.metrics import BY_NAME

_Slots = dict[tuple[str, ...], list[float]]


class Spread(msgspec.Struct, frozen=True):
    """Seconds that half, and 95 of 100, took at the most; None: nothing was measured."""

    p50: float | None = None
    p95: float | None = None


class Row(msgspec.Struct, frozen=True):
    """One model, tier or rule; counts are per second, `ratio` is the fullest month of a tier.

    `errors` are 5xx and none at all; of a tier they are 4xx.
    """

    name: str
    requests: float = 0.0
    errors: float = 0.0
    tokens: float = 0.0
    seconds: Spread = Spread()
    first_token: Spread = Spread()
    ratio: float | None = None


class Figures(msgspec.Struct, frozen=True):
    """One frame; `status` is what `tollkeeper status` shows, `slow` traces."""

    status: Mapping[str, Any]
    requests: float
    errors: float  # per second: 5xx and none at all
    refused: float
    tokens_in: float
    tokens_out: float
    inflight: float
    seconds: Spread
    overhead: Spread
    models: Sequence[Row]
    tiers: Sequence[Row]
    rules: Sequence[Row]  # that refused
    slow: Sequence[Mapping[str, Any]]


def compare(before: Any, now: Any, status: Mapping[str, Any], slow: Sequence[Mapping[str, Any]]) -> Figures:
    """What happened between two answers to the command `measures`."""
    span = max(1e-3, now["at"] - before["at"])
    change = {name: _subtract(_index(before, name), _index(now, name), span) for name in _RATES}
    requests, tokens = change["requests_total"], change["tokens_total"]
    return Figures(
        status=status,
        requests=_total(requests),
        errors=_count_errors(requests),
        refused=_total(change["rejected_total"]),
        tokens_in=_total(_where(tokens, 2, "prompt")),
        tokens_out=_total(_where(tokens, 2, "completion")),
        inflight=_total(_index(now, "inflight")),
        seconds=_spread("request_seconds", change["request_seconds"].values()),
        overhead=_spread("overhead_seconds", change["overhead_seconds"].values()),
        models=_rank(_model_rows(change)),
        tiers=_rank(_tier_rows(change, _index(now, "quota_used_ratio"))),
        rules=_rank(_rule_rows(change["rejected_total"])),
        slow=slow,
    )


_RATES = (
    "requests_total", "request_seconds", "overhead_seconds", "first_token_seconds", "tokens_total", "rejected_total",
)  # fmt: skip


def _model_rows(change: Mapping[str, _Slots]) -> list[Row]:
    requests, seconds, first = (change[name] for name in ("requests_total", "request_seconds", "first_token_seconds"))
    names = {labels[1] for labels in requests if labels[1]}
    return [
        Row(
            name,
            _total(_where(requests, 1, name)),
            _count_errors(_where(requests, 1, name)),
            _total(_where(change["tokens_total"], 0, name)),
            _spread("request_seconds", _where(seconds, 1, name).values()),
            _spread("first_token_seconds", _where(first, 0, name).values()),
        )
        for name in names
    ]


def _tier_rows(change: Mapping[str, _Slots], ratios: _Slots) -> list[Row]:
    requests = change["requests_total"]
    names = {labels[2] for labels in requests if labels[2]} | {labels[0] for labels in ratios}
    return [
        Row(
            name,
            _total(_where(requests, 2, name)),
            _total(_where(_where(requests, 2, name), 3, "4xx")),
            _total(_where(change["tokens_total"], 1, name)),
            ratio=ratios[(name,)][0] if (name,) in ratios else None,
        )
        for name in names
    ]


def _rule_rows(rejected: _Slots) -> list[Row]:
    return [Row(" ".join(filter(None, labels)), slots[0]) for labels, slots in rejected.items() if slots[0]]


def _index(measures: Any, name: str) -> _Slots:
    return {tuple(labels): slots for labels, slots in measures["sums"].get(name, ())}


def _subtract(before: _Slots, now: _Slots, span: float) -> _Slots:
    """Per second. A gateway that was started anew counts from nothing: then what it has is what happened."""
    changed = {}
    for labels, slots in now.items():
        was = before.get(labels, [0.0] * len(slots))
        restarted = any(a < b for a, b in zip(slots, was, strict=True))
        changed[labels] = [(a if restarted else a - b) / span for a, b in zip(slots, was, strict=True)]
    return changed


def _where(series: _Slots, place: int, name: str) -> _Slots:
    return {labels: slots for labels, slots in series.items() if labels[place] == name}


def _count_errors(requests: _Slots) -> float:
    """Of 5xx, and of those that got no answer at all."""
    return _total(_where(requests, 3, "5xx")) + _total(_where(requests, 3, "0xx"))


def _total(series: _Slots) -> float:
    return sum(slots[0] for slots in series.values())


def _rank(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-row.requests, -(row.ratio or 0.0), row.name))


def _spread(name: str, series: Any) -> Spread:
    """Percentiles from the buckets of a histogram, linear inside of one (as Prometheus' histogram_quantile)."""
    bounds = BY_NAME[name].buckets
    counts = [sum(column) for column in zip(*[slots[: len(bounds) + 1] for slots in series], strict=True)]
    if not counts or sum(counts) <= 0:
        return Spread()
    return Spread(_quantile(bounds, counts, 0.5), _quantile(bounds, counts, 0.95))


def _quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float:
    wanted = share * sum(counts)
    for (low, high), count in zip(pairwise((0.0, *bounds)), counts, strict=False):
        if wanted <= count:
            return low + (high - low) * wanted / count
        wanted -= count
    return bounds[-1]  # above the highest: at least this
