"""All engines of a supervisor: which there are, how they are replaced, and the workers' way to them."""

import asyncio
import itertools
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.engines.admission import Admission, Claim
from gateway.engines.leftovers import Leftovers
from gateway.engines.lodging import Lodging, Room
from gateway.engines.plan import Planned
from gateway.engines.probe import Prober
from gateway.engines.process import Engine
from gateway.engines.queue import Taken
from gateway.engines.refusal import tell
from gateway.engines.residency import Demand
from gateway.engines.silence import Ask, ask_nobody, measure_silence
from gateway.engines.site import Site
from gateway.engines.slots import Slots
from gateway.engines.view import describe, describe_life
from gateway.errors import GatewayError
from gateway.link import Acquire, Done, Failed, Gone, Release, Slot
from gateway.model_file import Digests
from gateway.settings.state import digests_file, engines_file, logs_folder
from gateway.tasks import spawn

_log = logging.getLogger("tollkeeper.engines")

_PRELOAD = 600.0  # seconds that a load which nobody waits for may take to begin
_MOMENT = 0.05  # seconds in which a load that is refused is refused
_DEATH = 0.3  # seconds that a death which is just happening may take to be noticed


class Engines:
    """The supervisor's engines. `directory` is the state directory; `alive` the read end of the supervisor's pipe.

    `on_change` is called after each change of an engine's state.
    """

    def __init__(self, directory: str, alive: int, on_change: Callable[[], None]) -> None:
        logs = logs_folder(directory)
        os.makedirs(logs, mode=0o700, exist_ok=True)
        self._leftovers = Leftovers(engines_file(directory))
        self._prober = Prober()
        digests = Digests(digests_file(directory))
        self._site = Site(logs, alive, self._leftovers, self._prober, itertools.count(1), digests)
        self.ask_worker: Ask = ask_nobody
        self._on_change = on_change
        self._lodging = Lodging()
        self._plans: dict[str, Planned] = {}
        self._current: dict[str, Slots] = {}
        self._retiring: list[tuple[str, Slots]] = []
        self._swaps: set[asyncio.Task[Any]] = set()

    def start(self, plans: Mapping[str, Planned], memory: int = 0) -> None:
        """End what an earlier supervisor left, then start the engines that are loaded from the start."""
        self._leftovers.end()
        self.reload(plans, 0, memory)

    def reload(self, plans: Mapping[str, Planned], linger: float, memory: int = 0) -> None:
        """Make it so. Engines whose settings did not change are untouched; others finish what they do for `linger` s.

        Requests for an engine that is replaced wait for the new one. `memory` is bytes for all engines, 0 for no bound.
        """
        self._lodging.budget = int(memory)  # a plain one: it is told over the link
        for name in sorted(self._plans.keys() | plans.keys()):
            old, new = self._plans.get(name), plans.get(name)
            if old is None or new is None or new.needs_restart(old):
                self._replace(name, new, linger)
            else:
                self._current[name].resize(new.slots, new.queue)
                self._adopt(self._current[name], new)
                self._preload(self._current[name].room)
        self._plans = dict(plans)
        self._lodging.settle()

    async def stop(self) -> None:
        """End every engine; returns when the last process is gone."""
        self._lodging.end()
        for swap in list(self._swaps):
            swap.cancel()
        await asyncio.gather(*(slots.engine.stop() for _, slots in self._all()))
        await self._prober.close()

    def take(self, writer: str, ask: Acquire) -> Taken | None:
        """A slot, a place in the queue, or a refusal, where the engine serves."""
        slots = self._current.get(ask.backend)
        return slots.take(writer, ask) if slots is not None else None

    async def acquire(self, writer: str, ask: Acquire) -> Slot | Failed:
        slots = next(iter(self._named(ask.backend)), None)
        if slots is None:
            return Failed(f"The backend {ask.backend} is not configured any more.", 1707)
        return await slots.acquire(writer, ask)

    def foresee(self, backend: str, may_load: bool = True, may_evict: bool = False, **claim: Any) -> Failed | Done:
        """What a request for a slot with this `Claim` would meet now: a refusal, or how engine and queue stand."""
        slots = next(iter(self._named(backend)), None)
        if slots is None:
            return Failed(f"The backend {backend} is not configured any more.", 1707)
        claimed = Claim(**claim)
        refusal = slots.foresee(may_load, may_evict, claimed)
        return refusal or Done(describe(slots) | slots.admission.promise(claimed))

    async def load(self, backend: str, patience: float, may_load: bool = True, may_evict: bool = True) -> Failed | Done:
        """Have an engine loaded that nobody uses yet, and wait at most `patience` seconds until it is ready.

        With a patience of 0 it is just begun. Failed: as `acquire`.
        """
        slots = self._current.get(backend)
        if slots is None:
            return Failed(f"No engine of the name {backend} is started here.", 1401)
        bringing = spawn(self._bring(slots.room, patience or _PRELOAD, may_load, may_evict), f"load of {backend}")
        await asyncio.wait([bringing], timeout=patience or _MOMENT)
        if bringing.done() and (error := bringing.result()) is not None:
            return tell(error)
        try:
            if patience:
                await slots.engine.ensure_ready(patience)
        except GatewayError as error:
            return tell(error)
        return Done(self.lives()[backend])

    async def unload(self, backend: str, patience: float) -> Failed | Done:
        """Unload an engine when nobody uses it any more, and wait at most `patience` seconds until it is gone.

        Requests that come meanwhile wait for it to be loaded again. One that is pinned goes, too.
        """
        slots = self._current.get(backend)
        if slots is None:
            return Failed(f"No engine of the name {backend} is started here.", 1401)
        run = slots.engine.run
        slots.room.unload()
        if run is not None:
            await asyncio.wait([run.over], timeout=patience)
            await asyncio.sleep(0)  # its state follows
        return Done(self.lives()[backend])

    def release(self, writer: str, release: Release) -> None:
        for slots in self._named(release.backend):
            slots.release(writer, release)

    def forget_writer(self, writer: str) -> None:
        """A worker is dead: its slots and its places in the queues are free."""
        for _, slots in self._all():
            slots.forget_writer(writer)

    async def find_end(self, ask: Gone) -> str:
        """How that run of an engine ended, empty while it lives; waits a moment for a death that is just happening."""
        for slots in self._named(ask.backend):
            if (end := await slots.engine.find_end(ask.load, _DEATH)) is not None:
                return end
        return "over"

    def owns(self, pid: int) -> bool:
        """Whether `pid` is a shim of ours, whose end somebody waits for."""
        return any(slots.engine.run is not None and slots.engine.run.shim_pid == pid for _, slots in self._all())

    def states(self) -> dict[str, str]:
        return {name: slots.engine.condition.state.value for name, slots in self._current.items()}

    def lives(self) -> dict[str, dict[str, Any]]:
        """What callers may know of each engine: whether it is loaded, and how it is used."""
        return {name: describe_life(slots) for name, slots in self._current.items()}

    def memory(self) -> dict[str, int]:
        """Bytes: the budget of all engines together, 0 for none, and what those that are not gone count with."""
        rooms = [slots.room for _, slots in self._all()]
        return {
            "budget": self._lodging.budget,
            "taken": sum(room.terms.memory for room in rooms if room.engine.is_resident),
        }

    def lines(self, backend: str, count: int) -> list[str]:
        """The last lines that an engine has printed, the oldest first."""
        slots = self._current.get(backend)
        return slots.engine.last_words(count) if slots is not None else []

    def describe(self) -> dict[str, dict[str, Any]]:
        """Everything that status and metrics tell of each engine; times are seconds."""
        return {name: describe(slots) for name, slots in self._current.items()}

    def _all(self) -> Iterator[tuple[str, Slots]]:
        yield from self._current.items()
        yield from self._retiring

    def _named(self, name: str) -> list[Slots]:
        """The engine of that name, and those that it replaces."""
        current = [self._current[name]] if name in self._current else []
        return current + [slots for known, slots in self._retiring if known == name]

    def _replace(self, name: str, plan: Planned | None, linger: float) -> None:
        old = self._current.pop(name, None)
        if old is not None:
            self._retiring.append((name, old))
            self._lodging.retire(old.room)
        if plan is not None:
            self._current[name] = self._make(plan)
            self._preload(self._current[name].room)
        if old is not None:
            swap = spawn(self._retire(name, old, linger), f"end of {name}")
            self._swaps.add(swap)
            swap.add_done_callback(self._swaps.discard)

    def _make(self, plan: Planned) -> Slots:
        engine = Engine(plan.backend, self._site, self._note_change, plan.ration, plan.secrets)
        slots = Slots(self._lodging.add(engine, plan.terms), Admission(plan.slots, plan.queue), plan.aftermath)
        engine.on_end, engine.progressed = slots.end_run, slots.progressed
        engine.trust = plan.trust
        engine.silence = lambda: measure_silence(slots, self.ask_worker)
        return slots

    def _adopt(self, slots: Slots, plan: Planned) -> None:
        """What changes while it runs, beside slots and queue."""
        slots.room.adopt(plan.terms)
        slots.aftermath, slots.engine.trust = plan.aftermath, plan.trust

    def _preload(self, room: Room) -> None:
        if room.terms.preload:
            spawn(self._load_at_start(room), f"load of {room.engine.name}")

    async def _load_at_start(self, room: Room) -> None:
        error = await self._bring(room, math.inf)
        if error is not None and not room.is_retired:
            _log.warning("engine %s is not loaded at the start: %s", room.engine.name, error.message)

    async def _bring(
        self, room: Room, patience: float, may_load: bool = True, may_evict: bool = False
    ) -> GatewayError | None:
        """Why it is not being loaded, if it is not."""
        try:
            await self._lodging.bring(room, Demand(room.engine.name, may_load, may_evict), patience)
        except GatewayError as error:
            return error
        return None

    async def _retire(self, name: str, old: Slots, linger: float) -> None:
        """End an engine that another one replaces, or none; the new one is loaded when it is gone."""
        await old.drain(linger)
        await old.engine.stop()
        self._retiring.remove((name, old))
        self._lodging.remove(old.room)
        self._on_change()

    def _note_change(self) -> None:
        self._lodging.settle()
        self._on_change()
