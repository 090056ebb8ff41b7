"""Who holds a slot of a backend and who waits for one: first come, first served. Pure; the clock is passed in."""

from collections import OrderedDict

import msgspec


class Ticket(msgspec.Struct, frozen=True):
    """A request of a worker. `writer` is the worker instance's unique name."""

    writer: str
    request: str


class Full(msgspec.Struct, frozen=True):
    """Nobody more may wait. `ahead` requests do; `retry_after` seconds is when a place may be free."""

    ahead: int
    retry_after: float


class Admission:
    """The slots and the queue of one backend.

    `slots`: how many hold one at a time, 0 for no bound. `bound`: how many may wait.
    """

    def __init__(self, slots: int, bound: int) -> None:
        self.slots = slots
        self.bound = bound
        self.held: dict[Ticket, float] = {}  # and since when
        self.waiting: OrderedDict[Ticket, float] = OrderedDict()  # and since when
        self.service = 1.0  # seconds that a slot is held, smoothed

    @property
    def is_free(self) -> bool:
        """Whether the next to ask gets a slot at once."""
        return not self.waiting and self._has_room()

    def ask(self, ticket: Ticket, time: float) -> bool | Full:
        """True: the slot is held from now on. False: it waits; `grant` will name it."""
        if self.is_free:
            self.held[ticket] = time
            return True
        if len(self.waiting) >= self.bound:
            return Full(len(self.waiting), self.expected_wait())
        self.waiting[ticket] = time
        return False

    def grant(self, time: float) -> list[Ticket]:
        """Those who waited and hold a slot from now on."""
        granted = []
        while self.waiting and self._has_room():
            ticket, _ = self.waiting.popitem(last=False)
            self.held[ticket] = time
            granted.append(ticket)
        return granted

    def leave(self, ticket: Ticket, time: float) -> None:
        """Give a slot back, or stop waiting; a ticket that does neither is not known any more, and that is well."""
        self.waiting.pop(ticket, None)
        since = self.held.pop(ticket, None)
        if since is not None:
            self.service += (time - since - self.service) / 8

    def expected_wait(self) -> float:
        """Seconds until one more would hold a slot, going by how long slots were held."""
        return (len(self.waiting) + 1) * self.service / max(1, self.slots)

    def _has_room(self) -> bool:
        return self.slots == 0 or len(self.held) < self.slots
