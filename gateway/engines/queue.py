"""The queue before the slots of an engine that serves: the effects around `Admission`. Nobody in it needs a task."""

import asyncio
from collections.abc import Callable, Set

from gateway.engines.admission import Admission, Claim, Full, Ticket
from gateway.engines.lobby import LEFT
from gateway.engines.process import Engine
from gateway.engines.refusal import crowded_out, queue_is_full, tell, waited_too_long
from gateway.errors import GatewayError
from gateway.link import Acquire, Failed, Pending, Slot
from gateway.tasks import spawn

Taken = Slot | Failed | Pending[Slot | Failed]
_TICK = 0.001  # seconds that a timer may be early

HandOut = Callable[[Ticket, float, float], Slot]


class _Turn:
    """Somebody who waits for a slot `since` then, having waited `loading` seconds for the engine."""

    __slots__ = ("answer", "ask", "claim", "loading", "since")

    def __init__(self, ask: Acquire, claim: Claim, since: float, loading: float) -> None:
        self.answer: Pending[Slot | Failed] = Pending()
        self.ask = ask
        self.claim = claim
        self.loading = loading
        self.since = since

    @property
    def end(self) -> float:
        """When it has waited as long as it may."""
        return self.since + self.ask.wait


class Queue:
    """`hand_out` makes the slot of a ticket that waited so many seconds, in the queue and for the engine.

    `give_back` is called for a ticket that gets none; it must call `leave`.
    """

    def __init__(
        self, engine: Engine, admission: Admission, hand_out: HandOut, give_back: Callable[[Ticket, int], None]
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._hand_out = hand_out
        self._give_back = give_back
        self._turns: dict[Ticket, _Turn] = {}
        self._timer: asyncio.TimerHandle | None = None  # not later than the first who has waited long enough
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time

    @property
    def tickets(self) -> Set[Ticket]:
        """Who waits."""
        return self._turns.keys()

    def join(self, ticket: Ticket, ask: Acquire, loading: float) -> Taken:
        """A slot, now or when it is its turn; Failed 1709, or 1802 after `ask.wait` seconds."""
        claim, admission, now = read_claim(ask), self._admission, self._clock()
        crowded = admission.crowd_out(claim)
        answer = admission.ask(ticket, now, claim)
        if crowded is not None:
            outlook = admission.foresee(crowded.claim)
            self._turn_away(crowded.ticket, tell(crowded_out(crowded.claim, outlook, now - crowded.since)))
        if answer is True:
            return self._hand_out(ticket, 0.0, loading)
        if isinstance(answer, Full):
            self._give_back(ticket, 0)
            return tell(queue_is_full(len(admission.waiting), claim, answer))
        turn = self._turns[ticket] = _Turn(ask, claim, now, loading)
        if self._timer is None or self._timer.when() > turn.end:
            self._wake_at(turn.end)
        return turn.answer

    def leave(self, ticket: Ticket, used: int) -> None:
        """Wait no longer, or give the slot back after so many tokens (-1: as many as were claimed)."""
        turn = self._turns.pop(ticket, None)
        if turn is not None and not turn.answer.done:
            turn.answer.resolve(LEFT)
        self._admission.leave(ticket, self._clock(), used)
        self.serve()

    def serve(self) -> None:
        """Give slots that are free to those whose turn it is."""
        now = self._clock()
        for ticket in self._admission.grant(now):
            turn = self._turns[ticket]
            if self._engine.serves:
                del self._turns[ticket]
                turn.answer.resolve(self._hand_out(ticket, now - turn.since, turn.loading))
            else:
                spawn(self._await_engine(ticket, turn, now - turn.since), f"slot for {ticket.request}")

    def _wake_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(time, self._send_away)

    def _send_away(self) -> None:
        """Whoever has waited long enough."""
        self._timer, now = None, self._clock()
        try:
            for ticket, turn in list(self._turns.items()):
                if turn.end <= now + _TICK and ticket in self._admission.waiting:
                    self._expire(ticket, turn)
        finally:
            if ends := [turn.end for ticket, turn in self._turns.items() if ticket in self._admission.waiting]:
                self._wake_at(min(ends))

    def _expire(self, ticket: Ticket, turn: _Turn) -> None:
        outlook = self._admission.foresee(turn.claim, ticket)
        self._turn_away(ticket, tell(waited_too_long(turn.claim, outlook, self._clock() - turn.since)))

    def _turn_away(self, ticket: Ticket, farewell: Failed) -> None:
        self._turns[ticket].answer.resolve(farewell)
        self._give_back(ticket, 0)

    async def _await_engine(self, ticket: Ticket, turn: _Turn, queued: float) -> None:
        """It has a slot of an engine that has ended meanwhile, and will be back."""
        began = self._clock()
        try:
            await self._engine.ensure_ready(turn.ask.load - turn.loading)
        except GatewayError as error:
            if not turn.answer.done:
                self._turn_away(ticket, tell(error))
            return
        if not turn.answer.done:
            del self._turns[ticket]
            turn.answer.resolve(self._hand_out(ticket, queued, turn.loading + self._clock() - began))


def read_claim(ask: Acquire) -> Claim:
    return Claim(ask.priority, ask.consumer, ask.tokens)
