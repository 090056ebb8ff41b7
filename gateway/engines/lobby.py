"""Those who wait for an engine that is not ready: each has a task. The least entitled go where they are too many."""

import asyncio
from collections.abc import Coroutine, Set
from typing import Any

from gateway.engines.admission import Claim, Ticket
from gateway.link import Failed, Slot
from gateway.priority import PRIORITIES
from gateway.tasks import spawn

LEFT = Failed("The request has left.")


class Lobby:
    """`tickets` are those whose task is under way: they wait for the engine, or for a slot after that."""

    def __init__(self) -> None:
        self._tasks: dict[Ticket, asyncio.Task[Slot | Failed]] = {}
        self._claims: dict[Ticket, Claim] = {}  # of those who wait for the engine, in order of arrival
        self._farewells: dict[Ticket, Failed] = {}

    @property
    def tickets(self) -> Set[Ticket]:
        return self._tasks.keys()

    async def wait(self, ticket: Ticket, claim: Claim, way: Coroutine[Any, Any, Slot | Failed]) -> Slot | Failed:
        """What comes of `way`, a task's coroutine; Failed for who leaves, or is sent away."""
        task = self._tasks[ticket] = spawn(way, f"slot for {ticket.request}")
        self._claims[ticket] = claim
        await asyncio.wait([task])
        del self._tasks[ticket]
        self._claims.pop(ticket, None)
        farewell = self._farewells.pop(ticket, LEFT)
        return farewell if task.cancelled() else task.result()

    def enter(self, ticket: Ticket) -> None:
        """The engine is ready: it is waited for no more."""
        self._claims.pop(ticket, None)

    def leave(self, ticket: Ticket) -> bool:
        """End its task; False where it has none."""
        task = self._tasks.get(ticket)
        return task is not None and task.cancel()

    def find_lower(self, claim: Claim) -> Ticket | None:
        """The youngest of the last class that waits for the engine, if it is a lower one than `claim`'s."""
        levels = [(PRIORITIES.index(theirs.priority), ticket) for ticket, theirs in reversed(self._claims.items())]
        level, ticket = max(levels, key=lambda found: found[0], default=(0, None))
        return ticket if level > PRIORITIES.index(claim.priority) else None

    def claim_of(self, ticket: Ticket) -> Claim:
        return self._claims[ticket]

    def send_away(self, ticket: Ticket, farewell: Failed) -> None:
        """Somebody has to go, and is told `farewell`."""
        del self._claims[ticket]
        self._farewells[ticket] = farewell
        self._tasks[ticket].cancel()
