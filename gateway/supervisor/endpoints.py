"""Keeps the health of every backend's endpoints: probes them, takes observations, tells the workers what is down."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gateway import backend as contract
from gateway.link import EndpointStates, Observation
from gateway.supervisor.health import Health
from gateway.tasks import spawn

if TYPE_CHECKING:
    import aiohttp

_TICK = 0.5  # seconds between two looks at ejections that end


class Endpoints:
    """`on_change` gets the states whenever they change. One instance per configuration generation."""

    def __init__(
        self, backends: Mapping[str, contract.AnyBackend], on_change: Callable[[EndpointStates], None],
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._now = now
        self._on_change = on_change
        self._checks = {name: backend.health for name, backend in backends.items() if backend.health is not None}
        self._health: dict[str, Health] = {}
        self._urls: dict[str, list[str]] = {}
        for name, backend in backends.items():
            urls = [endpoint.url for endpoint in backend.endpoints()]
            if urls:
                check = self._checks.get(name)
                self._urls[name] = urls
                self._health[name] = Health(urls, *((check.healthy, check.unhealthy) if check else ()))
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        if self._health:
            self._tasks.append(spawn(self._watch_ejections(), "ejections"))
        if self._checks:
            self._tasks.append(spawn(self._probe_all(), "health checks"))

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def observe(self, seen: Observation) -> None:
        """Take in what a worker saw."""
        health = self._health.get(seen.backend)
        if health is None:
            return
        now = self._now()
        if seen.ok:
            changed = health.succeed(seen.endpoint, now)
        else:
            changed = health.fail(seen.endpoint, seen.blame, seen.consumer, now)
        if changed:
            self._on_change(self.states())

    def states(self) -> EndpointStates:
        now = self._now()
        return EndpointStates({name: down for name, health in self._health.items() if (down := health.down(now))})

    def readings(self) -> list[tuple[tuple[str, ...], float]]:
        """The gauge `endpoint_up`."""
        down = self.states().down
        return [
            ((name, url), float(url not in down.get(name, ()))) for name, urls in self._urls.items() for url in urls
        ]

    async def _watch_ejections(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            now = self._now()
            if any([health.has_changed(now) for health in self._health.values()]):
                self._on_change(self.states())

    async def _probe_all(self) -> None:
        import aiohttp  # not at the top: it would slow every start down, and most backends have no check

        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for name, check in self._checks.items():
                for url in self._urls.get(name, ()):
                    group.create_task(self._probe(session, name, url, check))

    async def _probe(self, session: "aiohttp.ClientSession", name: str, url: str, check: contract.Health) -> None:
        health = self._health[name]
        while True:
            is_good = await _is_good(session, url.rstrip("/") + check.path, aiohttp.ClientTimeout(total=check.timeout))
            if health.probe(url, is_good, self._now()):
                self._on_change(self.states())
            await asyncio.sleep(check.interval)


async def _is_good(session: "aiohttp.ClientSession", url: str, limit: "aiohttp.ClientTimeout") -> bool:
    try:
        async with session.get(url, timeout=limit, allow_redirects=False) as answer:
            return 200 <= answer.status < 300
    except (OSError, ValueError, RuntimeError):
        return False
