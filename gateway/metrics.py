"""What is measured: one table of definitions, and the shared memory in which a process counts.

A `Board` lives in an anonymous file made by the supervisor and inherited by the worker: the worker adds to plain
slots, the supervisor reads them at any time, and after the worker's death. `gateway.exposition` sums the boards.

The file holds eight bytes of length, then so many bytes of directory (a JSON line `[index, name, labels…]` for each
series), then the slots (doubles). A directory entry is complete before the length covers it, so a reader never sees
half a series, whenever the worker dies.
"""

import mmap
import os
import sys
import tempfile
from bisect import bisect_left
from typing import Literal, NamedTuple

import msgspec

OTHER = "other"  # every label of the series that takes what exceeds the bound
SERIES = 1000  # at most so many of one metric

_DIRECTORY = 512 * 1024  # bytes, the length included
_SLOTS = 64 * 1024

_FAST = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metric(NamedTuple):
    """One definition; `name` without the prefix `tollkeeper_`. A board's gauge counts for as long as its process."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    peak: bool = False  # of several boards' gauges the highest is shown, not their sum

    @property
    def width(self) -> int:
        """Slots of one series: a histogram has one for each bucket, one for what is above, and the sum."""
        return len(self.buckets) + 2 if self.buckets else 1


METRICS = (
    Metric("requests_total", "counter", "Requests answered; status is a class such as 2xx, 0xx for none",
           ("route", "model", "tier", "status")),
    Metric("request_seconds", "histogram", "Time from the request's head to the last byte of its answer",
           ("route", "model"), _SLOW),
    Metric("overhead_seconds", "histogram", "Time the gateway itself spent on a request", (), _FAST),
    Metric("first_token_seconds", "histogram", "Time to the first body byte of a stream", ("model",), _SLOW),
    Metric("tokens_total", "counter", "Tokens; kind is prompt or completion", ("model", "tier", "kind")),
    Metric("inflight", "gauge", "Requests that a backend works on", ("backend",)),
    Metric("rejected_total", "counter", "Requests refused; reason is the error's code", ("rule", "reason")),
    Metric("upstream_errors_total", "counter", "Failures of upstreams; reason is the error's code",
           ("backend", "reason")),
    Metric("fallbacks_total", "counter", "Requests for a model that another one was asked for", ("model", "to")),
    Metric("upstream_seconds", "histogram", "Time from sending to the end of the upstream's answer",
           ("backend",), _SLOW),
    Metric("queue_depth", "gauge", "Requests waiting for a slot", ("backend", "class")),
    Metric("queue_limit", "gauge", "How many requests may wait for a slot", ("backend",)),
    Metric("queue_seconds", "histogram", "Time waited for a slot", ("backend", "class"), _SLOW),
    Metric("load_seconds", "histogram", "Time requests waited until their engine was loaded", ("backend",), _SLOW),
    Metric("endpoint_up", "gauge", "1 while an endpoint is used", ("backend", "endpoint")),
    Metric("engine_state", "gauge",
           "0 stopped, 1 starting, 2 ready, 3 suspect, 4 stopping, 5 backoff, 6 failed", ("backend",)),
    Metric("engine_restarts_total", "counter", "Engines started again", ("backend", "reason")),
    Metric("engine_load_seconds", "gauge", "Time from an engine's last launch to ready", ("backend",)),
    Metric("engine_memory_bytes", "gauge", "Memory that an engine counts with, 0 while it is not loaded", ("backend",)),
    Metric("ledger_up", "gauge", "1 while the authority answers", ("authority",)),
    Metric("ledger_seconds", "histogram", "Time a worker waited for the authority", (), _FAST),
    Metric("lease_tokens", "gauge", "Units that workers hold in leases: charged, not yet spent"),
    Metric("ledger_degraded_total", "counter", "Asks decided while the shared ledger was down, by what the tier wants",
           ("policy",)),
    Metric("cache_requests_total", "counter", "Requests that came to a cache; result is hit, miss, bypass or coalesced",
           ("cache", "result")),
    Metric("cache_bytes", "gauge", "What a cache holds, all workers together", ("cache",)),
    Metric("quota_used_ratio", "gauge", "The fullest month of a tier's callers in the last minute, 1 when used up",
           ("tier",), peak=True),
    Metric("unpriced_total", "counter", "Answers with tokens of a model that has no price", ("model",)),
    Metric("jwks_age_seconds", "gauge", "Age of the key set of tokens when a newer one was last asked for", peak=True),
    Metric("jwks_refresh_failures_total", "counter", "Times that no newer key set could be had"),
    Metric("store_up", "gauge", "1 while the trace store takes what is written"),
    Metric("trace_lag_seconds", "gauge", "Age of the oldest finished request that is not stored yet"),
    Metric("trace_dropped_total", "counter",
           "Records that are lost: not written (disk), too much waits (bound), unreadable", ("reason",)),
    Metric("traces_removed_total", "counter", "Traces removed as the file wants it: for their age, or the store's size",
           ("reason",)),
    Metric("otel_traces_total", "counter", "Traces told to an OpenTelemetry collector; result is sent or dropped",
           ("result",)),
    Metric("store_bytes", "gauge", "What the trace store takes of its disk"),
    Metric("store_limit_bytes", "gauge", "Beyond it the oldest traces go; 0: no bound"),
    Metric("journal_bytes", "gauge", "What the journals take of the disk: records that wait, and the newest"),
    Metric("journal_limit_bytes", "gauge", "Beyond it new records are lost; 0: no bound"),
    Metric("api_seconds", "histogram", "Time control took for a call of its API, to the answer's head",
           ("door", "endpoint"), _SLOW),
    Metric("disk_bytes", "gauge", "Size of the file system that holds the state directory"),
    Metric("disk_free_bytes", "gauge", "What is free of it"),
    Metric("certificate_expiry_seconds", "gauge", "Time until a listener's certificate ends, below 0 afterwards",
           ("certificate",)),
    Metric("process_memory_bytes", "gauge", "Resident memory; role is supervisor, worker, control or engine",
           ("role",)),
    Metric("worker_restarts_total", "counter", "Workers started again after they died"),
    Metric("control_restarts_total", "counter", "Times that control was started again after it died"),
    Metric("loop_stalls_total", "counter", "Times a worker's event loop stood still for more than half a second"),
    Metric("loop_lag_seconds", "gauge", "How late a worker's event loop is, smoothed; the worst one's", peak=True),
    Metric("shed_total", "counter", "Requests refused because a worker's event loop fell behind", ("class",)),
    Metric("config_generation", "gauge", "The configuration in force"),
    Metric("config_reload_success", "gauge", "1 when the last reload was taken"),
    Metric("build_info", "gauge", "Always 1", ("version",)),
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}

Series = dict[tuple[str, ...], list[float]]  # (name, label values…) -> its slots


def _entry(index: int, series: tuple[str, ...]) -> bytes:
    return msgspec.json.encode((index, *series)) + b"\n"


def _other(metric: Metric) -> tuple[str, ...]:
    return (metric.name, *(OTHER for _ in metric.labels))


_RESERVED_SLOTS = sum(metric.width for metric in METRICS)
_RESERVED_BYTES = sum(len(_entry(_SLOTS, _other(metric))) for metric in METRICS)


def make_board_file() -> int:
    """An anonymous file for one board, empty; the descriptor is closed on exec unless passed on."""
    if sys.platform == "linux":
        file = os.memfd_create("tollkeeper-metrics", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.ftruncate(file, _DIRECTORY + 8 * _SLOTS)
    return file


class Board:
    """The counting side. Indexes are made once (by label values in the order of the definition) and kept.

    `add` is for counters and gauges, `observe` for histograms. Where a metric has too many series, or the memory is
    full, `index` returns the one series whose labels are all `other`. `slots` may be added to in place.
    """

    def __init__(self, file: int) -> None:
        """Map an empty board file; the descriptor is not needed afterwards."""
        self._memory = mmap.mmap(file, _DIRECTORY + 8 * _SLOTS)
        view = memoryview(self._memory)
        self._length = view[:8].cast("Q")
        self.slots = view[_DIRECTORY:].cast("d")
        self._indexes: dict[tuple[str, ...], int] = {}
        self._bounds: dict[int, tuple[float, ...]] = {}
        self._count: dict[str, int] = {}
        self._next = 0

    def index(self, name: str, *labels: str) -> int:
        """The series of a metric with these label values. Raises KeyError or ValueError for one not defined so."""
        found = self._indexes.get((name, *labels))
        return found if found is not None else self._allocate(BY_NAME[name], labels)

    def add(self, index: int, value: float = 1.0) -> None:
        self.slots[index] += value

    def observe(self, index: int, value: float) -> None:
        bounds, slots = self._bounds[index], self.slots
        slots[index + bisect_left(bounds, value)] += 1.0
        slots[index + len(bounds) + 1] += value

    def _allocate(self, metric: Metric, labels: tuple[str, ...]) -> int:
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, not {labels}")
        series = (metric.name, *labels)
        index, length = self._next, self._length[0]
        entry = _entry(index, series)
        if series != _other(metric) and not self._fits(metric, length + len(entry)):
            return self.index(*_other(metric))
        self._memory[8 + length : 8 + length + len(entry)] = entry
        self._length[0] = length + len(entry)
        self._next += metric.width
        self._count[metric.name] = self._count.get(metric.name, 0) + 1
        self._indexes[series] = index
        if metric.buckets:
            self._bounds[index] = metric.buckets
        return index

    def _fits(self, metric: Metric, length: int) -> bool:
        return (
            self._count.get(metric.name, 0) < SERIES
            and self._next + metric.width + _RESERVED_SLOTS <= _SLOTS
            and 8 + length + _RESERVED_BYTES <= _DIRECTORY
        )


class Reader:
    """The reading side of a board file, from any process that has the descriptor. Takes the descriptor over."""

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, _DIRECTORY + 8 * _SLOTS, access=mmap.ACCESS_READ)
        os.close(file)

    def read(self) -> Series:
        """Every series and its slots as they stand."""
        with memoryview(self._memory) as view, view[:8].cast("Q") as length, view[_DIRECTORY:].cast("d") as slots:
            lines = bytes(view[8 : 8 + length[0]]).splitlines()
            result: Series = {}
            for line in lines:
                index, *series = msgspec.json.decode(line)
                result[tuple(series)] = list(slots[index : index + BY_NAME[series[0]].width])
            return result

    def close(self) -> None:
        self._memory.close()
