"""The supervisor's view of all boards: their sum, what dead workers left, and gauges, as Prometheus text."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from gateway.metrics import BY_NAME, METRICS, OTHER, SERIES, Board, Metric, Reader, make_board_file

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

Labels = tuple[str, ...]
Sums = dict[str, dict[Labels, list[float]]]  # by metric and label values
Readings = Iterable[tuple[Labels, float]]  # (label values, value) of each series of a gauge


class Fold:
    """Sums boards into one exposition. `own` is the board of this process (the supervisor's counters).

    A dead board's counters and histograms go into the base, so totals never fall; its gauges end with it.
    """

    def __init__(self) -> None:
        self._gauges: dict[str, Callable[[], Readings]] = {}
        self._boards: dict[str, Reader] = {}
        self._base: Sums = {}
        file = make_board_file()
        self.own = Board(file)
        self.adopt("own", file)

    def adopt(self, name: str, file: int) -> None:
        """Count the board of process `name` from now on; the descriptor is taken over (the child has its own)."""
        self._boards[name] = Reader(file)

    def retire(self, name: str) -> None:
        """The process is dead: keep its totals, let its memory go."""
        reader = self._boards.pop(name)
        for (name, *labels), slots in reader.read().items():
            if BY_NAME[name].kind != "gauge":
                _add(self._base, name, tuple(labels), slots)
        reader.close()

    def gauge(self, name: str, read: Callable[[], Readings]) -> None:
        """Ask `read` for a gauge at each exposition. Raises KeyError for a name that is not defined."""
        self._gauges[BY_NAME[name].name] = read

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format 0.0.4."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> "Iterator[Family]":
        """What prometheus-client asks of a collector."""
        sums = self._sum()
        return (_family(metric, sums.get(metric.name, {})) for metric in METRICS)

    def plain(self) -> dict[str, list[tuple[Labels, list[float]]]]:
        """All metrics as plain data: by name, the label values and the slots of each series."""
        return {name: list(series.items()) for name, series in self._sum().items()}

    def _sum(self) -> Sums:
        """What has no labels is there from the start, so that its first increase is seen as one."""
        sums: Sums = {m.name: {(): [0.0] * m.width} for m in METRICS if not m.labels and m.kind != "gauge"}
        sums |= {name: dict(series) for name, series in self._base.items()}
        for reader in self._boards.values():
            for (name, *labels), slots in reader.read().items():
                _add(sums, name, tuple(labels), slots)
        for name, read in self._gauges.items():
            for values, value in read():
                _add(sums, name, values, [value])
        return sums


def describe_metrics() -> str:
    """The table in monitoring/README.md."""
    rows = (f"| `tollkeeper_{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.help} |\n" for m in METRICS)
    return "| metric | kind | labels | what |\n|---|---|---|---|\n" + "".join(rows)


def _add(sums: Sums, name: str, labels: Labels, slots: list[float]) -> None:
    """Add slot by slot, or keep the peak; a metric with too many series goes on in its `other`."""
    series = sums.setdefault(name, {})
    if labels not in series and len(series) >= SERIES:
        labels = tuple(OTHER for _ in labels)
    known = series.get(labels)
    if known is None:
        series[labels] = slots
    elif BY_NAME[name].peak:
        series[labels] = max(known, slots)
    else:
        series[labels] = [a + b for a, b in zip(known, slots, strict=True)]


def _family(metric: Metric, series: dict[Labels, list[float]]) -> "Family":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    name = f"tollkeeper_{metric.name}"
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.help, labels=metric.labels)
        for labels, slots in sorted(series.items()):
            histogram.add_metric(labels, _cumulate(metric.buckets, slots[:-1]), slots[-1])
        return histogram
    family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
        name, metric.help, labels=metric.labels
    )
    for labels, (value,) in sorted(series.items()):
        family.add_metric(labels, value)
    return family


def _cumulate(bounds: tuple[float, ...], counts: list[float]) -> list[tuple[str, float]]:
    """Prometheus wants each bucket to hold all below it, and the last to be +Inf."""
    buckets, total = [], 0.0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
