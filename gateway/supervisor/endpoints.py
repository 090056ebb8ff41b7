"""Keeps the health of every backend's endpoints: probes them, takes observations, tells the workers what is down.

Bodies that engines died of are remembered here as well, until a reload: it may bring an engine that copes with them.
"""

import asyncio
from collections.abc import Callable, Mapping

from gateway import backend as contract
from gateway.http.tls import make_context
from gateway.link import EndpointStates, Observation, Trial
from gateway.supervisor.health import Health
from gateway.supervisor.poison import Poison
from gateway.supervisor.probe import Probe
from gateway.tasks import spawn

_TICK = 0.25  # seconds between two looks at breakers whose interval ends


class Endpoints:
    """`on_change` gets the states whenever they change. One instance per configuration generation."""

    def __init__(
        self, backends: Mapping[str, contract.AnyBackend], on_change: Callable[[EndpointStates], None],
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._now = now
        self._on_change = on_change
        self._checked = {name: backend for name, backend in backends.items() if backend.health is not None}
        self._health: dict[str, Health] = {}
        self._poison = Poison()
        self._urls: dict[str, list[str]] = {}
        for name, backend in backends.items():
            urls = [endpoint.url for endpoint in backend.endpoints()]
            if urls:
                check = backend.health
                self._urls[name] = urls
                self._health[name] = Health(urls, *((check.healthy, check.unhealthy) if check else ()))
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        if self._health:
            self._tasks.append(spawn(self._watch_breakers(), "breakers"))
        for name, backend in self._checked.items():
            for url in self._urls.get(name, ()):
                self._tasks.append(spawn(self._probe(url, backend), f"health of {url}"))

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def observe(self, seen: Observation) -> None:
        """Take in what a worker saw."""
        now = self._now()
        if seen.body and self._poison.blame(seen.body, seen.load, now):
            self._on_change(self.states())
        health = self._health.get(seen.backend)
        if health is None:
            return
        if seen.ok:
            changed = health.succeed(seen.endpoint, now, seen.trial)
        else:
            if seen.good:
                health.succeed(seen.endpoint, now, count=seen.good)
            changed = health.fail(seen.endpoint, seen.blame, seen.consumer, now, seen.trial, seen.asked)
        if changed:
            self._on_change(self.states())

    def give_trial(self, asked: Trial) -> bool:
        """Whether a request may try out an endpoint that is left alone."""
        health, now = self._health.get(asked.backend), self._now()
        if health is None or not health.give_trial(asked.endpoint, now):
            return False
        if health.has_changed(now):  # it was the last one
            self._on_change(self.states())
        return True

    def states(self) -> EndpointStates:
        now = self._now()
        return EndpointStates(
            {name: down for name, health in self._health.items() if (down := health.down(now))},
            {name: trials for name, health in self._health.items() if (trials := health.trials(now))},
            {name: wait for name, health in self._health.items() if (wait := health.wait(now))},
            self._poison.refused(now),
        )

    def readings(self) -> list[tuple[tuple[str, ...], float]]:
        """The gauge `endpoint_up`."""
        down = self.states().down
        return [
            ((name, url), float(url not in down.get(name, ()))) for name, urls in self._urls.items() for url in urls
        ]

    async def _watch_breakers(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            now = self._now()
            if any([health.has_changed(now) for health in self._health.values()]):
                self._on_change(self.states())

    async def _probe(self, url: str, backend: contract.AnyBackend) -> None:
        health, check, tls = self._health[backend.name], backend.health, backend.tls
        assert check is not None
        probe = Probe(url, check, make_context(tls) if tls is not None else None, backend.request_headers())
        while True:
            if health.probe(url, await probe.is_good(), self._now()):
                self._on_change(self.states())
            await asyncio.sleep(check.interval)
