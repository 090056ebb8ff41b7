"""The way to one engine: the queue before it, the slots, and the wait until it is ready."""

import asyncio
import contextlib
from typing import Any

from gateway.engines.admission import Admission, Full, Ticket
from gateway.engines.process import Engine
from gateway.engines.run import Run
from gateway.errors import GatewayError
from gateway.link import Acquire, Failed, Release, Slot
from gateway.tasks import spawn


class Slots:
    """Grants slots of one engine to requests of workers.

    A request waits for the engine first and for a slot then, each with its own time. A slot whose run of the engine
    ends is gone with it. Whoever leaves, or dies, gives back what it held.
    """

    def __init__(self, engine: Engine, admission: Admission) -> None:
        self.engine = engine
        self.admission = admission
        self.abandoned = 0  # slots given back by requests that saw nothing of the engine: it may still be at work
        self._asking: dict[Ticket, asyncio.Task[Slot | Failed]] = {}
        self._granted: dict[Ticket, asyncio.Future[None]] = {}
        self._loads: dict[Ticket, str] = {}  # of the slots that were handed out
        self._clock = asyncio.get_running_loop().time
        self._idle = asyncio.Event()
        self._idle.set()

    async def acquire(self, writer: str, ask: Acquire) -> Slot | Failed:
        """Failed: 1707, 1708, 1709, 1802 or 1808, or without a number for a request that left meanwhile."""
        ticket, run = Ticket(writer, ask.request), self.engine.run
        serves = run is not None and self.engine.condition.state.serves
        self._idle.clear()
        if run is not None and serves and self.admission.is_free:
            self.admission.ask(ticket, self._clock())
            return self._hand_out(ticket, run)
        if not serves and len(self._asking) >= self.admission.bound + self.admission.slots:
            return _tell(_full(len(self._asking), self.engine.load_seconds))
        task = self._asking[ticket] = spawn(self._acquire(ticket, ask), f"slot of {ask.backend}")
        await asyncio.wait([task])
        self._asking.pop(ticket, None)
        self._notice_idle()
        return Failed("The request has left.") if task.cancelled() else task.result()

    def foresee(self) -> Failed | None:
        """What `acquire` would refuse with at once; None: there would be a slot, or a wait for one."""
        if self.engine.run is None or not self.engine.condition.state.serves:
            try:
                self.engine.refuse_hopeless()
            except GatewayError as error:
                return _tell(error)
            waiting, most = len(self._asking), self.admission.bound + self.admission.slots
            return _tell(_full(waiting, self.engine.load_seconds)) if waiting >= most else None
        waiting = len(self.admission.waiting)
        if self.admission.is_free or waiting < self.admission.bound:
            return None
        return _tell(_full(waiting, self.admission.expected_wait()))

    def release(self, writer: str, release: Release) -> None:
        """Give a slot back, or leave the queue."""
        ticket = Ticket(writer, release.request)
        self.abandoned += not release.progress and ticket in self._loads
        self._leave(ticket)

    def forget_writer(self, writer: str) -> None:
        """Give back everything that a dead worker held or waited for."""
        for ticket in {*self._asking, *self._loads}:
            if ticket.writer == writer:
                self._leave(ticket)

    def end_run(self, load: str) -> None:
        """A run of the engine is over, and its slots with it."""
        for ticket in [ticket for ticket, held in self._loads.items() if held == load]:
            self._leave(ticket)

    def resize(self, slots: int, bound: int) -> None:
        self.admission.slots, self.admission.bound = slots, bound
        self._serve_next()

    async def drain(self, linger: float) -> None:
        """Wait until nobody uses the engine, at most `linger` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(linger):
                await self._idle.wait()

    async def _acquire(self, ticket: Ticket, ask: Acquire) -> Slot | Failed:
        try:
            return await self._wait(ticket, ask)
        except GatewayError as error:
            self._give_back(ticket)
            return _tell(error)
        except asyncio.CancelledError:
            self._give_back(ticket)
            raise

    async def _wait(self, ticket: Ticket, ask: Acquire) -> Slot:
        asked = self._clock()
        await self.engine.ensure_ready(ask.load)
        loading = self._clock() - asked
        await self._queue(ticket, ask.wait)
        queued = self._clock() - asked - loading
        run = await self.engine.ensure_ready(ask.load - loading)  # it may have ended meanwhile
        loading = self._clock() - asked - queued
        return self._hand_out(ticket, run, queued, loading)

    def _hand_out(self, ticket: Ticket, run: Run, queued: float = 0.0, loading: float = 0.0) -> Slot:
        self._loads[ticket] = run.load
        return Slot(f"http://127.0.0.1:{run.port}", run.load, queued, loading)

    async def _queue(self, ticket: Ticket, patience: float) -> None:
        answer = self.admission.ask(ticket, self._clock())
        if isinstance(answer, Full):
            raise _full(answer.ahead, answer.retry_after)
        if answer:
            return
        granted = self._granted[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(patience):
                await granted
        except TimeoutError:
            wait = str(max(1, round(self.admission.expected_wait())))
            message = f"The request waited {patience:g} s for a free slot of the model."
            raise GatewayError(1802, message, headers={"Retry-After": wait}) from None
        finally:
            self._granted.pop(ticket, None)

    def _leave(self, ticket: Ticket) -> None:
        task = self._asking.get(ticket)
        if task is not None and not task.done():
            task.cancel()
        else:
            self._give_back(ticket)

    def _give_back(self, ticket: Ticket) -> None:
        self._loads.pop(ticket, None)
        self.admission.leave(ticket, self._clock())
        self._serve_next()
        self._notice_idle()

    def _notice_idle(self) -> None:
        if not (self._asking or self._loads):
            self._idle.set()

    def _serve_next(self) -> None:
        for ticket in self.admission.grant(self._clock()):
            if not self._granted[ticket].done():  # else it is just leaving, and gives the slot on
                self._granted[ticket].set_result(None)

    def describe(self) -> dict[str, Any]:
        """What `tollkeeper status` shows of the queue."""
        return {
            "slots": self.admission.slots,
            "in_use": len(self._loads),
            "waiting": len(self.admission.waiting),
            "loading": len(self._asking) - len(self.admission.waiting),
            "abandoned": self.abandoned,
        }


def _full(ahead: int, retry_after: float) -> GatewayError:
    wait = str(max(1, round(retry_after)))
    return GatewayError(1709, f"{ahead} requests wait for this model already.", headers={"Retry-After": wait})


def _tell(error: GatewayError) -> Failed:
    return Failed(error.message, error.number, float(error.headers.get("Retry-After", 0)))
