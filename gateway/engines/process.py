"""A supervised engine. One task owns its state; everybody else sends it events and reads its condition."""

import asyncio
import logging
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gateway.backend import AnyBackend
from gateway.engines.effort import Effort
from gateway.engines.listener import pick_port
from gateway.engines.outfit import equip
from gateway.engines.output import Output
from gateway.engines.probe import Watch
from gateway.engines.ration import UNBOUND, Ration
from gateway.engines.run import Run, launch
from gateway.engines.site import Site
from gateway.engines.states import Condemned, Condition, Due, Event, Exited, State, Timing, Unwant, Want, next_state
from gateway.engines.stillness import Silence, Stillness, no_silence
from gateway.errors import GatewayError
from gateway.model_file import Trust
from gateway.tasks import spawn

_log = logging.getLogger("tollkeeper.engines")


class Engine:
    """The door to an engine. It is started by `start`, started again whenever it ends, until `unload` or `stop`.

    `wanted` is what was asked for last; the task that owns the state follows. `on_change` is called after each change
    of its state, `on_end` with the load when a process run is over.
    """

    def __init__(
        self, backend: AnyBackend, site: Site, on_change: Callable[[], None], ration: Ration = UNBOUND,
        secrets: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.name = backend.name
        self.condition = Condition(since=asyncio.get_running_loop().time())
        self.wanted = False
        self.revives = True  # whether it is tried again by itself after it has failed
        self.run: Run | None = None
        self.restarts: Counter[str] = Counter()
        self.load_seconds = 0.0  # of the last start
        self.trust = Trust()
        self.on_end: Callable[[str], None] = lambda load: None
        self.progressed: Callable[[], float | None] = lambda: None  # when a request was finished; None: it has none
        self.silence: Silence = no_silence
        self._backend = backend
        self._site = site
        self._on_change = on_change
        self.ration = ration
        self._secrets = secrets or {}
        self._events: asyncio.Queue[tuple[Event, Run | None]] = asyncio.Queue()
        self._turned = asyncio.Event()  # set and replaced at each change
        self._owner: asyncio.Task[Any] | None = None
        self._words: list[str] = []  # the last lines of the run before
        self._ends: dict[str, str] = {}  # how that run ended

    @property
    def is_at_rest(self) -> bool:
        """Whether there is no process, and none is about to be."""
        rests = self.condition.state in (State.STOPPED, State.FAILED)
        return rests and self.run is None and self._events.empty()

    @property
    def is_resident(self) -> bool:
        """Whether it takes memory, or will without being asked again."""
        has_given_up = self.condition.state is State.FAILED and not self.revives
        return not self.is_at_rest or (self.wanted and not has_given_up)

    @property
    def serves(self) -> bool:
        """Whether requests may be sent to the run of now."""
        return self.run is not None and not self.run.over.done() and self.condition.state.serves

    def start(self) -> None:
        self.wanted = True
        if self._owner is None:
            self._owner = spawn(self._own(), f"engine {self.name}")
        self._tell(Want(), None)

    def unload(self) -> None:
        """Begin to end the engine; it can be started again."""
        self.wanted = False
        self._tell(Unwant(), None)

    async def stop(self) -> None:
        """End the engine for ever; returns when its last process is gone."""
        self.wanted = False
        if self._owner is None:
            return
        self._tell(Unwant(), None)
        while self.condition.state is not State.STOPPED:
            await self._turned.wait()
        self._owner.cancel()

    async def ensure_ready(self, patience: float) -> Run:
        """The run to send requests to, waited for at most `patience` seconds.

        Raises GatewayError 1707 (it is being stopped), 1708 (it has failed) or 1808 (it was not ready in time).
        """
        try:
            async with asyncio.timeout(patience):
                while not (self.serves and self.run is not None):
                    self.refuse_hopeless()
                    await self._turned.wait()
        except TimeoutError:
            message = f"The model was not ready after {patience:g} s."
            raise GatewayError(1808, message, headers={"Retry-After": "10"}) from None
        return self.run

    def describe(self) -> dict[str, Any]:
        """What `tollkeeper status` shows of the process; while it is silent, `last_words` are of the run before."""
        condition, run = self.condition, self.run
        return {
            "state": condition.state.value,
            "seconds": asyncio.get_running_loop().time() - condition.since,  # in this state
            "reason": condition.reason,
            "pid": run.pid if run is not None else 0,
            "port": run.port if run is not None else 0,
            "load": run.load if run is not None else "",
            "load_seconds": self.load_seconds,
            "chosen": self._backend.chosen,
            "restarts": dict(self.restarts),
            "last_words": self.last_words(5),
        }

    def last_words(self, count: int) -> list[str]:
        """The last lines that it has printed; while a run is silent, those of the run before."""
        return (self.run.output.last(count) if self.run is not None else []) or self._words[-count:]

    async def find_end(self, load: str, patience: float) -> str | None:
        """How a run ended, in two words, "" while it lives; one that is just ending is waited for `patience` seconds.

        None: it is not known.
        """
        if self.run is None or self.run.load != load:
            return self._ends.get(load)
        run = self.run
        await asyncio.wait([run.over], timeout=patience)
        return run.end

    def condemn(self, reason: str, cause: str) -> None:
        """End the run of now at once; it is started again. `cause` is a word for metrics."""
        if self.run is not None:
            self._tell(Condemned(reason, cause), self.run)

    def refuse_hopeless(self) -> None:
        """Raise 1707 or 1708 where waiting for readiness is in vain."""
        self.refuse_failed()
        if not self.wanted:
            raise GatewayError(1707, headers={"Retry-After": "5"})

    def refuse_failed(self) -> None:
        """Raise 1708 while a failed engine is not tried again."""
        condition = self.condition
        if condition.state is State.FAILED and condition.until is not None and self._events.empty():
            wait = max(1, math.ceil(condition.until - asyncio.get_running_loop().time()))
            details = {"engine": self.name, "reason": condition.reason}
            raise GatewayError(1708, details=details, headers={"Retry-After": str(wait)})

    async def _own(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            event = await self._next_event()
            before, after = self.condition, next_state(self.condition, event, clock(), self._timing())
            if after == before:
                self._turn()
                continue
            self.condition = after
            if after.state is not before.state:
                self._note(before, after)
            if after.state is State.STARTING and before.state is not State.STARTING:
                await self._launch()
            elif after.state is State.STOPPING and self.run is not None:
                (self.run.kill if after.kill else self.run.terminate)()
            self._turn()
            self._on_change()

    def _turn(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()

    def _timing(self) -> Timing:
        return Timing(self._backend.start_timeout, self._backend.stop_timeout, self.revives)

    async def _next_event(self) -> Event:
        """What happens next to the run of now; news of an earlier one is dropped."""
        while True:
            try:
                async with asyncio.timeout_at(self.condition.until):
                    event, run = await self._events.get()
            except TimeoutError:
                return Due()
            if run is None or run is self.run:
                if isinstance(event, Exited):
                    self._forget_run()
                return event

    def _note(self, before: Condition, after: Condition) -> None:
        """Count and log a change of state."""
        if after.state in (State.BACKOFF, State.FAILED):
            self.restarts[after.cause] += 1
            _log.warning("engine %s: %s (%s): %s", self.name, after.state.value, after.reason, self.last_words(3))
        elif after.state is State.READY and before.state is State.STARTING:
            self.load_seconds = after.since - before.since
            _log.info("engine %s: ready after %.1f s", self.name, self.load_seconds)
        else:
            told = f"{after.state.value} ({after.reason})" if after.reason else after.state.value
            _log.info("engine %s: %s", self.name, told)

    def _forget_run(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            self._words = run.output.last(200)
            self._ends = {run.load: run.end}
            self.on_end(run.load)  # nobody is sent to it any more

    async def _launch(self) -> None:
        load = f"{self.name}-{next(self._site.numbers)}"
        port = pick_port()
        path = os.path.join(self._site.logs, f"{self.name}.log")
        try:
            if wrong := await asyncio.to_thread(self.trust.refuse, self._backend.model_path(), self._site.digests):
                raise OSError(wrong)
            plan = self._backend.launch(port)
            assert plan is not None, "only backends that launch something become engines"
            outfit = equip(plan, self._backend.request_headers(), self.ration, self._secrets)
            output = Output(path, secrets=outfit.hidden)
            run = await launch(outfit.launch, load, port, self._site.alive, output, self._site.leftovers)
        except OSError as error:
            self._tell(Exited(f"could not be started: {error}", random.random()), None)
            return
        self.run, run.key = run, outfit.key
        if run.pid:
            self.ration.apply(run.pid)
        run.over.add_done_callback(lambda over: self._tell(run.exited(), run))
        effort = Effort(run.pid, lambda: self.progressed())
        stillness = Stillness(run.pid, lambda: self.progressed(), lambda: self.silence())
        watch = Watch(run, outfit, self._site.prober, effort, stillness, self.ration.memory)
        spawn(watch.keep(lambda: self.condition.state, lambda event: self._tell(event, run)), f"watch over {load}")

    def _tell(self, event: Event, run: Run | None) -> None:
        self._events.put_nowait((event, run))
