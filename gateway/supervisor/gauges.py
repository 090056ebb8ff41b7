"""The gauges of /metrics that the supervisor knows: read when they are asked for."""

from typing import Protocol

import gateway
from gateway.engines.registry import Engines
from gateway.exposition import Fold, Readings
from gateway.supervisor.desk import Desk


class Known(Protocol):
    """What the gauges are read from."""

    @property
    def desk(self) -> Desk: ...
    @property
    def generation(self) -> int: ...
    @property
    def reload_worked(self) -> bool: ...
    @property
    def engines(self) -> Engines: ...
    def endpoint_readings(self) -> Readings: ...


_STATES = {
    "stopped": 0.0, "starting": 1.0, "ready": 2.0, "suspect": 3.0, "stopping": 4.0, "backoff": 5.0, "failed": 6.0,
}  # fmt: skip


def register_gauges(fold: Fold, known: Known) -> None:
    fold.gauge("build_info", lambda: [((gateway.__version__,), 1.0)])
    fold.gauge("config_generation", lambda: [((), float(known.generation))])
    fold.gauge("config_reload_success", lambda: [((), float(known.reload_worked))])
    fold.gauge("endpoint_up", known.endpoint_readings)
    fold.gauge("engine_state", lambda: [((name,), _STATES[state]) for name, state in known.engines.states().items()])
    fold.gauge("queue_depth", lambda: _queues(known.engines))
    fold.gauge("ledger_up", lambda: [(("embedded",), 1.0)])
    fold.gauge("store_up", lambda: [((), float(known.desk.store.up))])
    fold.gauge("trace_dropped_total", lambda: [(("journal",), float(known.desk.store.lost))])
    fold.gauge("trace_lag_seconds", lambda: [((), known.desk.store.lag)])


def _queues(engines: Engines) -> Readings:
    return [((name, "normal"), float(engine["waiting"])) for name, engine in engines.describe().items()]
