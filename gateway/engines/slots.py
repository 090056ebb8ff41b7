"""The way to one engine: a place in memory, the wait until it is ready, the queue before it, and the slots."""

import asyncio
import contextlib
import logging
from typing import Any

from gateway.engines.admission import PLAIN, Admission, Claim, Full, Outlook, Ticket
from gateway.engines.aftermath import Aftermath, outlast
from gateway.engines.lodging import Room
from gateway.engines.refusal import crowded_out, queue_is_full, tell, waited_too_long
from gateway.engines.residency import Demand
from gateway.engines.run import Run
from gateway.errors import GatewayError
from gateway.link import Acquire, Failed, Release, Slot
from gateway.priority import PRIORITIES
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
        self._asking: dict[Ticket, asyncio.Task[Slot | Failed]] = {}
        self._starting: dict[Ticket, Claim] = {}  # who waits for the engine, in order of arrival
        self._sent_away: dict[Ticket, Failed] = {}  # of these, and what they are told
        self._granted: dict[Ticket, asyncio.Future[None]] = {}
        self._loads: dict[Ticket, str] = {}  # of the slots that were handed out
        self._lingering: set[Ticket] = set()  # of them those whose engine works for nobody
        self._clock = asyncio.get_running_loop().time
        self._progressed = 0.0  # when a request was last finished that the engine had answered
        self._idle = asyncio.Event()
        self._idle.set()

    def take(self, writer: str, ask: Acquire) -> Slot | None:
        """A slot, if there is one at once: most requests need no task of their own."""
        run = self.engine.run
        if run is None or not (self.admission.is_free and self._serves()):
            return None
        ticket = Ticket(writer, ask.request)
        self._idle.clear()
        self.room.users.add(ticket)
        self.admission.ask(ticket, self._clock(), _claim(ask))
        return self._hand_out(ticket, run)

    async def acquire(self, writer: str, ask: Acquire) -> Slot | Failed:
        """Failed: 1108, 1707 to 1709, 1714, 1716, 1802 or 1808, or without a number for who left meanwhile."""
        if (taken := self.take(writer, ask)) is not None:
            return taken
        ticket, serves = Ticket(writer, ask.request), self._serves()
        self._idle.clear()
        is_full = not serves and len(self._asking) >= self.admission.bound + self.admission.slots
        if is_full and not self._send_away(_claim(ask)):
            return tell(queue_is_full(len(self._asking), _claim(ask), self._outlook_of_start()))
        task = self._asking[ticket] = spawn(self._acquire(ticket, ask), f"slot of {ask.backend}")
        await asyncio.wait([task])
        self._asking.pop(ticket, None)
        self._notice_idle()
        farewell = self._sent_away.pop(ticket, Failed("The request has left."))
        return farewell if task.cancelled() else task.result()

    def foresee(self, may_load: bool = True, may_evict: bool = False, claim: Claim = PLAIN) -> Failed | None:
        """What `acquire` would refuse with at once; None: there would be a slot, or a wait for one."""
        if not self._serves():
            try:
                self.engine.refuse_failed()
            except GatewayError as error:
                return tell(error)
            if refusal := self.room.foresee(may_load, may_evict):
                return tell(refusal)
            waiting, most = len(self._asking), self.admission.bound + self.admission.slots
            outlook = self._outlook_of_start() if waiting >= most and self._find_lower(claim) is None else None
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
                run.kill()
                await run.over
        self._lingering.discard(ticket)
        self._leave(ticket, used)

    def progressed(self) -> float | None:
        """When a request was last finished that the engine had answered; None while there are none."""
        return self._progressed if self._loads else None

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
            self._give_back(ticket, 0)
            return tell(error)
        except asyncio.CancelledError:
            self._give_back(ticket, 0)
            raise

    async def _wait(self, ticket: Ticket, ask: Acquire) -> Slot:
        asked, claim = self._clock(), _claim(ask)
        if not self.room.is_open:
            self.engine.refuse_failed()
        self._starting[ticket] = claim
        try:
            await self.room.enter(ticket, Demand(self.engine.name, ask.may_load, ask.may_evict), ask.load)
            await self.engine.ensure_ready(ask.load - (self._clock() - asked))
        finally:
            self._starting.pop(ticket, None)
        loading = self._clock() - asked
        await self._queue(ticket, claim, ask.wait)
        queued = self._clock() - asked - loading
        run = await self.engine.ensure_ready(ask.load - loading)  # it may have ended meanwhile
        loading = self._clock() - asked - queued
        return self._hand_out(ticket, run, queued, loading)

    def _hand_out(self, ticket: Ticket, run: Run, queued: float = 0.0, loading: float = 0.0) -> Slot:
        self._loads[ticket] = run.load
        return Slot(f"http://127.0.0.1:{run.port}", run.load, queued, loading, run.key)

    async def _queue(self, ticket: Ticket, claim: Claim, patience: float) -> None:
        asked = self._clock()
        crowded = self.admission.crowd_out(claim)
        answer = self.admission.ask(ticket, asked, claim)
        if crowded is not None and not (theirs := self._granted[crowded.ticket]).done():
            outlook = self.admission.foresee(crowded.claim)
            theirs.set_exception(crowded_out(crowded.claim, outlook, asked - crowded.since))
        if isinstance(answer, Full):
            raise queue_is_full(len(self.admission.waiting), claim, answer)
        if answer:
            return
        granted = self._granted[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(patience):
                await granted
        except TimeoutError:
            raise waited_too_long(claim, self.admission.foresee(claim, ticket), self._clock() - asked) from None
        finally:
            self._granted.pop(ticket, None)

    def _send_away(self, claim: Claim) -> bool:
        """Refuse one of those who wait for the engine, if one is less entitled; he is told so by `acquire`."""
        ticket = self._find_lower(claim)
        if ticket is None:
            return False
        theirs = self._starting.pop(ticket)
        self._sent_away[ticket] = tell(crowded_out(theirs, self._outlook_of_start()))
        self._asking[ticket].cancel()
        return True

    def _find_lower(self, claim: Claim) -> Ticket | None:
        """Of those who wait for the engine, the youngest of the last class, if it is a lower one than `claim`'s."""
        levels = [(PRIORITIES.index(theirs.priority), ticket) for ticket, theirs in reversed(self._starting.items())]
        level, ticket = max(levels, key=lambda found: found[0], default=(0, None))
        return ticket if level > PRIORITIES.index(claim.priority) else None

    def _outlook_of_start(self) -> Outlook:
        """Of one who finds the engine not ready, and too many who wait for it."""
        return Outlook(len(self._asking), self.engine.load_seconds)

    def _leave(self, ticket: Ticket, used: int = -1) -> None:
        task = self._asking.get(ticket)
        if task is not None and not task.done():
            task.cancel()
        else:
            self._give_back(ticket, used)

    def _give_back(self, ticket: Ticket, used: int = -1) -> None:
        self._loads.pop(ticket, None)
        self.admission.leave(ticket, self._clock(), used)
        self.room.leave(ticket)
        self._serve_next()
        self._notice_idle()

    def _serves(self) -> bool:
        """Whether the engine answers now, and stays."""
        return self.room.is_open and self.engine.run is not None and self.engine.condition.state.serves

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
            "slots": self.admission.slots, "queue": self.admission.bound,
            "in_use": len(self._loads),
            "waiting": len(self.admission.waiting),
            "queues": self.admission.lengths(),
            "oldest_wait": self.admission.oldest_wait(self._clock()),
            "loading": len(self._asking) - len(self.admission.waiting),
            "abandoned": self.abandoned,
        }  # fmt: skip


def _claim(ask: Acquire) -> Claim:
    return Claim(ask.priority, ask.consumer, ask.tokens)
