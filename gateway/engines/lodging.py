"""Engines in the memory that they share: carries out what `residency` decides, and lets requests in or wait."""

import asyncio
import itertools
import math
from typing import Any

from gateway.engines.admission import Ticket
from gateway.engines.process import Engine
from gateway.engines.refusal import no_room
from gateway.engines.residency import Decision, Demand, Phase, Refusal, Tenant, decide
from gateway.engines.states import State
from gateway.engines.vacancy import foresee_vacancy
from gateway.errors import GatewayError
from gateway.settings.terms import Terms

_Tickets = dict[Ticket, "asyncio.Future[None]"]


class Room:
    """The place of one engine. Whoever wants to use the engine enters first, and leaves in the end."""

    def __init__(self, lodging: "Lodging", engine: Engine, terms: Terms) -> None:
        self.engine = engine
        self.is_open = False  # the engine is in memory and stays for now: whoever comes may enter
        self.is_closed = False  # it is chosen to make room
        self.is_unwanted = False  # somebody asked for it to be unloaded
        self.is_retired = False
        self.users: set[Ticket] = set()
        self.used = 0.0  # when the last one left
        self.wait = ""  # why those who want it wait
        self._lodging = lodging
        self.adopt(terms)

    def adopt(self, terms: Terms) -> None:
        """What the configuration says from now on."""
        self.terms = terms
        self.engine.revives = terms.revives

    async def enter(self, ticket: Ticket, demand: Demand, patience: float = math.inf) -> None:
        """Be a user of the engine, which is loaded if need be; it may still be starting.

        Raises GatewayError 1108, 1707, 1714, 1716, or 1808 after `patience` seconds.
        """
        if self.is_open:
            self.users.add(ticket)
        else:
            await self._lodging.wait(self, ticket, demand, patience)

    def unload(self) -> None:
        """Have the engine go as soon as nobody uses it, pinned or not."""
        if self.phase is Phase.RESIDENT:
            self.is_unwanted = True
            self._lodging.settle()

    def foresee(self, may_load: bool, may_evict: bool) -> GatewayError | None:
        """What `enter` would refuse with at once."""
        return self._lodging.foresee(self, Demand(self.engine.name, may_load, may_evict))

    def leave(self, ticket: Ticket) -> None:
        """Be no user any more; whoever is none is welcome."""
        if ticket in self.users:
            self.users.discard(ticket)
            if not self.users:
                self.used = asyncio.get_running_loop().time()
                self._lodging.notice_idle(self)

    def describe(self) -> dict[str, Any]:
        """What `tollkeeper status` shows of the engine's place; `idle` is seconds without a user."""
        terms, used = self.terms, max(self.used, self.engine.condition.ready_since or 0.0)
        is_idle = used and not self.users and self.engine.is_resident
        return {
            "resident": self.engine.is_resident, "memory": terms.memory, "group": terms.group,
            "pinned": terms.is_pinned, "closed": self.is_closed, "wait": self.wait,
            "idle": asyncio.get_running_loop().time() - used if is_idle else 0.0,
        }  # fmt: skip

    @property
    def phase(self) -> Phase:
        if not self.engine.is_resident:
            return Phase.ABSENT
        if self.is_retired:
            return Phase.RETIRED
        return Phase.RESIDENT if self.engine.wanted else Phase.LEAVING

    def tenant(self) -> Tenant:
        """The engine as the decision sees it."""
        terms, condition = self.terms, self.engine.condition
        if condition.ready_since is not None and condition.state.serves:
            ripe = condition.ready_since + terms.residency
        else:
            ripe = 0.0 if condition.state in (State.BACKOFF, State.FAILED) else math.inf
        return Tenant(
            name=self.engine.name, phase=self.phase, memory=terms.memory, group=terms.group,
            is_pinned=terms.is_pinned, is_used=bool(self.users), is_closed=self.is_closed,
            is_unwanted=self.is_unwanted, ripe=ripe, used=max(self.used, condition.ready_since or 0.0),
            idle=terms.idle,
        )  # fmt: skip


class Lodging:
    """All rooms. `budget` is bytes for all engines together, 0 for no bound."""

    def __init__(self) -> None:
        self.budget = 0
        self._rooms: list[Room] = []
        self._waiting: dict[tuple[Room, Demand], _Tickets] = {}  # the oldest demand first
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_ending = False

    def add(self, engine: Engine, terms: Terms) -> Room:
        room = Room(self, engine, terms)
        self._rooms.append(room)
        return room

    def retire(self, room: Room) -> None:
        """Another configuration holds: it is not loaded again, and nobody else decides when it goes."""
        room.is_retired = True
        self.settle()

    def remove(self, room: Room) -> None:
        """Its engine has ended for ever."""
        self._rooms.remove(room)
        self.settle()

    def end(self) -> None:
        """Load nothing more; whoever waits is told."""
        self._is_ending = True
        for key in list(self._waiting):
            self._refuse(key, GatewayError(1707))

    async def bring(self, room: Room, demand: Demand, patience: float) -> None:
        """Have an engine loaded without using it; returns when it starts. Raises what `Room.enter` does."""
        ticket = Ticket("", f"load-{next(self._numbers)}")
        try:
            await room.enter(ticket, demand, patience)
            if room.engine.condition.state is State.FAILED:
                room.engine.start()
        finally:
            room.leave(ticket)

    async def wait(self, room: Room, ticket: Ticket, demand: Demand, patience: float) -> None:
        """Until the ticket is a user of the room."""
        if self._is_ending or room.is_retired:
            raise GatewayError(1707)
        key = (room, demand)
        is_first = key not in self._waiting
        admitted = self._waiting.setdefault(key, {})[ticket] = self._loop.create_future()
        if is_first:
            self.settle()
        try:
            async with asyncio.timeout(None if patience == math.inf else patience):
                await admitted
        except TimeoutError:
            text = f"The model was not ready after {patience:g} s: {room.wait or 'others use the memory'}."
            raise GatewayError(1808, text, headers={"Retry-After": "10"}) from None
        finally:
            self._forget(key, ticket)

    def foresee(self, room: Room, demand: Demand) -> GatewayError | None:
        if self._is_ending or (room.is_retired and not room.is_open):
            return GatewayError(1707)
        if room.is_open:
            return None
        refusal = self._decide(demand).refused.get(demand)
        return self._explain(room, refusal) if refusal is not None else None

    def notice_idle(self, room: Room) -> None:
        """Nobody uses the engine any more."""
        if self._waiting or room.is_unwanted:
            self.settle()
        elif room.terms.idle != math.inf:
            self._ask_again(self._loop.time() + room.terms.idle)

    def settle(self) -> None:
        """Do what is to be done now. Called after everything that may change it."""
        if self._is_ending:
            return
        rooms = {room.engine.name: room for room in self._rooms if not room.is_retired}
        decision = self._decide()
        for name in decision.stop:
            rooms[name].is_unwanted = False
            rooms[name].engine.unload()
        for name in decision.load:
            rooms[name].engine.start()
        for name, room in rooms.items():
            room.is_closed = name in decision.closed
            room.is_open = room.phase is Phase.RESIDENT and not room.is_closed
            room.wait = decision.waits.get(name, "")
        self._tell(decision)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ask_again(decision.until)

    def _decide(self, *more: Demand) -> Decision:
        """What is to be done now, if those who wait and `more` are all."""
        demands = [demand for room, demand in self._waiting if not room.is_retired]
        return decide(self._tenants(), [*demands, *more], self.budget, self._loop.time())

    def _tenants(self) -> list[Tenant]:
        return [room.tenant() for room in self._rooms if not room.is_retired or room.engine.is_resident]

    def _explain(self, room: Room, refusal: Refusal) -> GatewayError:
        vacancy = foresee_vacancy(self._tenants(), self._loop.time())
        return no_room(room.engine.name, room.terms.memory, refusal, vacancy)

    def _tell(self, decision: Decision) -> None:
        """Let in those whose engine is there, and refuse those who are to be refused."""
        for key in list(self._waiting):
            room, demand = key
            if room.is_retired:
                self._refuse(key, GatewayError(1707))
            elif demand in decision.refused:
                self._refuse(key, self._explain(room, decision.refused[demand]))
            elif room.is_open:
                for ticket, admitted in self._waiting.pop(key).items():
                    if not admitted.done():  # else it is just leaving
                        room.users.add(ticket)
                        admitted.set_result(None)

    def _refuse(self, key: tuple[Room, Demand], error: GatewayError) -> None:
        for admitted in self._waiting.pop(key).values():
            if not admitted.done():
                admitted.set_exception(error)

    def _forget(self, key: tuple[Room, Demand], ticket: Ticket) -> None:
        """One waits no more, be it that it was told something, or that it has left."""
        tickets = self._waiting.get(key, {})
        if tickets.pop(ticket, None) is not None and not tickets:
            del self._waiting[key]
            self.settle()

    def _ask_again(self, at: float) -> None:
        """Settle at `at`, loop time, or before."""
        if self._timer is not None:
            at = min(at, self._timer.when())
            self._timer.cancel()
        self._timer = None if at == math.inf else self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.settle()
