"""What the supervisor tells of itself: status for the operator, readiness for load balancers, gauges for Prometheus."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gateway
from gateway.backlog import backlog_bytes
from gateway.engines.registry import Engines
from gateway.exposition import Fold, Readings
from gateway.settings.site import State
from gateway.settings.state import is_url, journal_folder
from gateway.supervisor.controller import Controller
from gateway.supervisor.desk import Desk
from gateway.supervisor.endpoints import Endpoints
from gateway.supervisor.generation import Generation
from gateway.supervisor.vitals import Certificates, Disk, measure_memory

_STATES = {
    "stopped": 0.0, "starting": 1.0, "ready": 2.0, "suspect": 3.0, "stopping": 4.0, "backoff": 5.0, "failed": 6.0,
}  # fmt: skip


class Report:
    """Reads the parts of a supervisor, which keeps `endpoints`, `reload_error` and `is_ending` up to date."""

    def __init__(self, generations: Sequence[Generation], engines: Engines, desk: Desk, controller: Controller) -> None:
        self.endpoints: Endpoints | None = None
        self.reload_error = ""
        self.is_ending = False
        self._generations = generations
        self._engines = engines
        self._desk = desk
        self._controller = controller
        self._certificates = Certificates()

    def describe(self, boot: str, addresses: list[str]) -> dict[str, Any]:
        """What `tollkeeper status` shows."""
        return {
            "version": gateway.__version__,
            "pid": os.getpid(),
            "boot": boot,
            "addresses": addresses,
            "admin": next(iter(self._controller.admin.names()), ""),
            "reload_error": self.reload_error,
            "generations": [
                {"number": g.number, "workers": [{"name": w.name, "pid": w.pid} for w in g.workers]}
                for g in self._generations
            ],
            "ledger": self._desk.authority.describe(),
            "control": self._controller.describe(),
            "engines": self._engines.describe(),
            "memory": self._engines.memory(),
            "endpoints_down": self.endpoints.states().down if self.endpoints is not None else {},
            "unsettled": sorted(self._desk.unsettled),
        }

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests are answered now, and what stands in the way."""
        newest = self._generations[-1] if self._generations else None
        is_ready = not self.is_ending and newest is not None and bool(newest.workers)
        return is_ready, {
            "draining": self.is_ending,
            "generation": newest.number if newest is not None else 0,
            "reload_error": self.reload_error,
            "ledger": self._desk.authority.describe(),
            "control": self._desk.control is not None,
        }

    def register_gauges(self, fold: Fold, directory: str, state: State) -> None:
        """Let /metrics ask here for what only the supervisor knows. `directory` is where state is kept."""
        desk, engines, disk = self._desk, self._engines, Disk(directory)
        fold.gauge("build_info", lambda: [((gateway.__version__,), 1.0)])
        fold.gauge("cache_bytes", lambda: [(("supervisor",), float(desk.values.size))])
        fold.gauge("config_generation", lambda: [((), float(self._generations[-1].number if self._generations else 0))])
        fold.gauge("config_reload_success", lambda: [((), float(not self.reload_error))])
        fold.gauge("endpoint_up", lambda: self.endpoints.readings() if self.endpoints is not None else ())
        fold.gauge("engine_state", lambda: [((name,), _STATES[state]) for name, state in engines.states().items()])
        fold.gauge("engine_restarts_total", self._count_restarts)
        fold.gauge("engine_load_seconds", self._measure_loads)
        fold.gauge("engine_memory_bytes", self._measure_memory)
        fold.gauge("queue_depth", self._measure_queues)
        fold.gauge("queue_limit", self._measure_limits)
        fold.gauge("process_memory_bytes", lambda: measure_memory(self._processes()))
        fold.gauge("disk_bytes", disk.size)
        fold.gauge("disk_free_bytes", disk.free)
        fold.gauge("certificate_expiry_seconds", self._measure_certificates)
        fold.gauge("control_restarts_total", lambda: [((), float(self._controller.restarts))])
        fold.gauge("ledger_up", desk.authority.readings)
        fold.gauge("store_up", lambda: [((), float(desk.store.up))])
        fold.gauge("trace_dropped_total", lambda: [(("unreadable",), float(desk.store.lost))])
        fold.gauge("traces_removed_total", lambda: [(("age",), desk.store.aged), (("size",), desk.store.evicted)])
        fold.gauge("store_bytes", lambda: [((), float(desk.store.size))])
        fold.gauge("store_limit_bytes", lambda: [((), float(0 if is_url(state.database) else state.size))])
        fold.gauge("journal_bytes", lambda: [((), float(backlog_bytes(journal_folder(directory))))])
        fold.gauge("journal_limit_bytes", lambda: [((), float(state.journal))])
        fold.gauge("trace_lag_seconds", lambda: [((), desk.store.lag)])

    def _count_restarts(self) -> Readings:
        return [
            ((name, reason), float(count))
            for name, engine in self._engines.describe().items()
            for reason, count in engine["restarts"].items()
        ]

    def _measure_loads(self) -> Readings:
        return [((name,), engine["load_seconds"]) for name, engine in self._engines.describe().items()]

    def _measure_memory(self) -> Readings:
        engines = self._engines.describe().items()
        return [((name,), float(engine["memory"] if engine["resident"] else 0)) for name, engine in engines]

    def _measure_queues(self) -> Readings:
        return [
            ((name, priority), float(count))
            for name, engine in self._engines.describe().items()
            for priority, count in engine["queues"].items()
        ]

    def _measure_limits(self) -> Readings:
        return [((name,), float(engine["queue"])) for name, engine in self._engines.describe().items()]

    def _measure_certificates(self) -> Readings:
        newest = self._generations[-1] if self._generations else None
        return self._certificates.measure(newest.config, time.time_ns() / 1e9) if newest is not None else ()

    def _processes(self) -> Iterator[tuple[str, int]]:
        yield "supervisor", os.getpid()
        yield from (("worker", worker.pid) for generation in self._generations for worker in generation.workers)
        yield from (("control", pid) for pid in (self._controller.describe()["pid"],) if pid is not None)
        yield from (("engine", engine["pid"]) for engine in self._engines.describe().values() if engine["pid"])
