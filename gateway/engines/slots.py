"""The way to one engine: a place in memory, the wait until it is ready, the queue before it, and the slots."""

import asyncio
import contextlib
import logging
from typing import Any

from gateway.engines.admission import PLAIN, Admission, Claim, Outlook, Ticket
from gateway.engines.aftermath import Aftermath, outlast
from gateway.engines.lobby import Lobby
from gateway.engines.lodging import Room
from gateway.engines.queue import Queue, Taken, read_claim
from gateway.engines.refusal import crowded_out, queue_is_full, tell
from gateway.engines.residency import Demand
from gateway.errors import GatewayError
from gateway.link import Acquire, Failed, Pending, Release, Slot
from gateway.tasks import spawn

_PLAIN = Aftermath()
_log = logging.getLogger("tollkeeper.engines")


class Slots:
    """Grants slots of one engine to requests of workers.

    A request waits for the engine first and for a slot then, each with its own time. A slot whose run of the engine
    ends is gone with it. Whoever leaves, or dies, gives back what it held.
    """

    def __init__(self, room: Room, admission: Admission, aftermath: Aftermath = _PLAIN) -> None:
        self.room = room
        self.aftermath = aftermath
        self.engine = room.engine
        self.admission = admission
        self.abandoned = 0  # slots given back by requests that saw nothing of the engine: it may still be at work
        self._lobby = Lobby()
        self._queue = Queue(self.engine, admission, self._hand_out, self._give_back)
        self._loads: dict[Ticket, str] = {}  # of the slots that were handed out
        self._lingering: set[Ticket] = set()  # of them those whose engine works for nobody
        self._clock = asyncio.get_running_loop().time
        self._progressed = 0.0  # when a request was last finished that the engine had answered
        self._idle = asyncio.Event()
        self._idle.set()

    def take(self, writer: str, ask: Acquire) -> Taken | None:
        """A slot, a place in the queue, or a refusal, if the engine serves: most requests need no task of their own.

        Failed: 1709 or 1802, or without a number for who left meanwhile.
        """
        if not self._serves():
            return None
        ticket = Ticket(writer, ask.request)
        self._idle.clear()
        self.room.users.add(ticket)
        return self._queue.join(ticket, ask, 0.0)

    async def acquire(self, writer: str, ask: Acquire) -> Slot | Failed:
        """The same, whether the engine serves or not. Failed: also 1108, 1707, 1708, 1714, 1716 or 1808."""
        taken = self.take(writer, ask)
        if taken is not None:
            return await taken if isinstance(taken, Pending) else taken
        ticket, claim, waiting = Ticket(writer, ask.request), read_claim(ask), self._count_waiting()
        self._idle.clear()
        if waiting >= self.admission.bound + self.admission.slots:
            lower = self._lobby.find_lower(claim)
            if lower is None:
                return tell(queue_is_full(waiting, claim, self._outlook_of_start()))
            theirs = self._lobby.claim_of(lower)
            self._lobby.send_away(lower, tell(crowded_out(theirs, self._outlook_of_start())))
        answer = await self._lobby.wait(ticket, claim, self._acquire(ticket, ask))
        self._notice_idle()
        return answer

    def foresee(self, may_load: bool = True, may_evict: bool = False, claim: Claim = PLAIN) -> Failed | None:
        """What `acquire` would refuse with at once; None: there would be a slot, or a wait for one."""
        if not self._serves():
            try:
                self.engine.refuse_failed()
            except GatewayError as error:
                return tell(error)
            if refusal := self.room.foresee(may_load, may_evict):
                return tell(refusal)
            waiting, most = self._count_waiting(), self.admission.bound + self.admission.slots
            outlook = self._outlook_of_start() if waiting >= most and self._lobby.find_lower(claim) is None else None
        else:
            waiting, outlook = len(self.admission.waiting), self.admission.refuses(claim)
        return None if outlook is None else tell(queue_is_full(waiting, claim, outlook))

    def release(self, writer: str, release: Release) -> None:
        """Give a slot back, or leave the queue."""
        ticket = Ticket(writer, release.request)
        if release.progress:
            self._progressed = self._clock()
        self.abandoned += not release.progress and ticket in self._loads
        if release.lingers and ticket in self._loads and ticket not in self._lingering:
            self._lingering.add(ticket)
            spawn(self._outlast(ticket, release.tokens), f"aftermath of {release.request}")
        else:
            self._leave(ticket, release.tokens)

    async def _outlast(self, ticket: Ticket, used: int) -> None:
        """Keep the slot of a request that the engine works on for nobody, until it is done with it."""
        run = self.engine.run
        if run is not None and run.load == self._loads.get(ticket):
            is_done = await outlast(run, self.aftermath.grace)
            if not is_done and self.aftermath.restarts and self._lingering >= self._loads.keys():
                _log.warning("engine %s goes on for nobody and is started again", self.engine.name)
                self.engine.condemn("went on for a client who had left", "abandoned")
                await run.over
        self._lingering.discard(ticket)
        self._leave(ticket, used)

    def progressed(self) -> float | None:
        """When a request was last finished that the engine had answered; None while there are none."""
        return self._progressed if self._loads else None

    def writers(self) -> set[str]:
        """Those whose requests have a slot."""
        return {ticket.writer for ticket in self._loads}

    def forget_writer(self, writer: str) -> None:
        """Give back everything that a dead worker held or waited for."""
        for ticket in (*self._lobby.tickets, *self._queue.tickets, *self._loads):  # few get what another gives back
            if ticket.writer == writer:
                self._leave(ticket)

    def end_run(self, load: str) -> None:
        """A run of the engine is over, and its slots with it."""
        for ticket in [ticket for ticket, held in self._loads.items() if held == load]:
            self._leave(ticket)

    def resize(self, slots: int, bound: int) -> None:
        self.admission.slots, self.admission.bound = slots, bound
        self._queue.serve()

    async def drain(self, linger: float) -> None:
        """Wait until nobody uses the engine, at most `linger` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(linger):
                await self._idle.wait()

    async def _acquire(self, ticket: Ticket, ask: Acquire) -> Slot | Failed:
        try:
            return await self._wait(ticket, ask)
        except GatewayError as error:
            self._give_back(ticket, 0)
            return tell(error)
        except asyncio.CancelledError:
            self._give_back(ticket, 0)
            raise

    async def _wait(self, ticket: Ticket, ask: Acquire) -> Slot | Failed:
        asked = self._clock()
        if not self.room.is_open:
            self.engine.refuse_failed()
        await self.room.enter(ticket, Demand(self.engine.name, ask.may_load, ask.may_evict), ask.load)
        await self.engine.ensure_ready(ask.load - (self._clock() - asked))
        self._lobby.enter(ticket)
        taken = self._queue.join(ticket, ask, self._clock() - asked)
        return await taken if isinstance(taken, Pending) else taken

    def _hand_out(self, ticket: Ticket, queued: float, loading: float) -> Slot:
        run = self.engine.run
        assert run is not None
        self._loads[ticket] = run.load
        return Slot(f"http://127.0.0.1:{run.port}", run.load, queued, loading, run.key)

    def _outlook_of_start(self) -> Outlook:
        """Of one who finds the engine not ready, and too many who wait for it."""
        return Outlook(self._count_waiting(), self.engine.load_seconds)

    def _count_waiting(self) -> int:
        """For the engine, or for a slot."""
        return len(self._lobby.tickets | self._queue.tickets)

    def _leave(self, ticket: Ticket, used: int = -1) -> None:
        if self._lobby.leave(ticket):
            return  # its task does the rest
        self._give_back(ticket, used)

    def _give_back(self, ticket: Ticket, used: int = -1) -> None:
        self._loads.pop(ticket, None)
        self._queue.leave(ticket, used)
        self.room.leave(ticket)
        self._notice_idle()

    def _serves(self) -> bool:
        """Whether the engine answers now, and stays."""
        return self.room.is_open and self.engine.serves

    def _notice_idle(self) -> None:
        if not (self._loads or self._queue.tickets or self._lobby.tickets):
            self._idle.set()

    def describe(self) -> dict[str, Any]:
        """What `tollkeeper status` shows of the queue."""
        return {
            "slots": self.admission.slots, "queue": self.admission.bound,
            "in_use": len(self._loads),
            "waiting": len(self.admission.waiting),
            "queues": self.admission.lengths(),
            "oldest_wait": self.admission.oldest_wait(self._clock()),
            "loading": len(self._lobby.tickets - self._queue.tickets),
            "abandoned": self.abandoned,
        }  # fmt: skip
