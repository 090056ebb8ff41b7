"""Rows in numbers: the histograms of the GenAI conventions, counted from the start of the process (cumulative)."""

from bisect import bisect_left
from collections.abc import Sequence

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
)

from gateway.control.otel.attributes import Value, describe_model, encode_attributes
from gateway.journal import Closed

_SERIES = 1000  # of one metric; what exceeds them is counted in one series (`otel.metric.overflow`)
_OVERFLOW = (("otel.metric.overflow", True),)

_DURATION = tuple(0.01 * 2**step for step in range(14))
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(4.0**step for step in range(14))

Key = tuple[tuple[str, Value | None], ...]


class _Measure:
    """One histogram, by attributes."""

    def __init__(self, name: str, unit: str, text: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.unit = unit
        self.text = text
        self.bounds = bounds
        self.series: dict[Key, tuple[list[int], list[float]]] = {}  # counts by bucket; the sum

    def add(self, key: Key, value: float) -> None:
        if key not in self.series and len(self.series) >= _SERIES:
            key = _OVERFLOW
        counts, total = self.series.setdefault(key, ([0] * (len(self.bounds) + 1), [0.0]))
        counts[bisect_left(self.bounds, value)] += 1
        total[0] += value

    def tell(self, since: int, now: int) -> Metric:
        points = [
            HistogramDataPoint(
                attributes=encode_attributes(dict(key)), start_time_unix_nano=since * 1000, time_unix_nano=now * 1000,
                count=sum(counts), sum=total[0], bucket_counts=counts, explicit_bounds=self.bounds,
            )
            for key, (counts, total) in self.series.items()
        ]  # fmt: skip
        kind = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        histogram = Histogram(data_points=points, aggregation_temporality=kind)
        return Metric(name=self.name, unit=self.unit, description=self.text, histogram=histogram)


class Measures:
    """What was seen since `since`, in unix microseconds. Calls of models alone."""

    def __init__(self, since: int) -> None:
        self._since = since
        self._duration = _Measure("gen_ai.server.request.duration", "s", "Time a call of a model took", _DURATION)
        self._first = _Measure("gen_ai.server.time_to_first_token", "s", "Time to the first byte of a stream", _FIRST)
        self._each = _Measure("gen_ai.server.time_per_output_token", "s", "Time per token after the first", _EACH)
        self._tokens = _Measure("gen_ai.client.token.usage", "{token}", "Tokens of prompts and answers", _TOKENS)

    def add(self, closed: Closed) -> None:
        """Count one row."""
        if not closed.opened.operation:
            return
        key: Key = tuple(describe_model(closed).items())
        self._duration.add(key, closed.total_us / 1e6)
        if closed.opened.stream and closed.first_token_us:
            self._first.add(key, closed.first_token_us / 1e6)
            if closed.tokens_out > 1:
                self._each.add(key, closed.decode_us / 1e6 / (closed.tokens_out - 1))
        if closed.tokens_source != "none":
            self._tokens.add((*key, ("gen_ai.token.type", "input")), closed.tokens_in)
            self._tokens.add((*key, ("gen_ai.token.type", "output")), closed.tokens_out)

    def tell(self, now: int) -> list[Metric]:
        """All that was counted; `now` is unix microseconds."""
        measures = (self._duration, self._first, self._each, self._tokens)
        return [measure.tell(self._since, now) for measure in measures if measure.series]
