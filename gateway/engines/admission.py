"""Who holds a slot of a backend and who waits for one. Pure; the clock is passed in.

Four classes wait in a line each (`line`: fair between its consumers by tokens). A free slot goes to the first class
that has somebody waiting, with one exception: a class that was passed over rises by one class for every eight slots
that went to higher ones. So low gets a slot of 17 beside as much high work as fits, and one of 25 beside critical; no
class waits for more than 27 slots in a row. It is slots that are counted and not seconds, because a class that is
served in the gaps of the others does not starve, however long its line is: then nobody of a higher class waits for it.
"""

from typing import Any

import msgspec

from gateway.engines.line import Line, Ticket
from gateway.priority import NORMAL, PRIORITIES, Priority

__all__ = ["PLAIN", "Admission", "Claim", "Entry", "Full", "Outlook", "Ticket"]

_PATIENCE = 8  # slots that go to higher classes while a class rises by one
_LEARNING = 8  # of the service times that are averaged
_LEVELS = {priority: level for level, priority in enumerate(PRIORITIES)}


class Claim(msgspec.Struct, frozen=True):
    """What a request's place among the others hangs on. `tokens`: what it will take at the most."""

    priority: Priority = NORMAL
    consumer: str = ""
    tokens: int = 1


PLAIN = Claim()


class Outlook(msgspec.Struct, frozen=True):
    """What waiting means, as far as can be told: requests `ahead`, and the seconds until a slot is granted."""

    ahead: int
    wait: float


class Full(Outlook, frozen=True):
    """Nobody more may wait. The outlook is of one who could."""


class Entry(msgspec.Struct, frozen=True):
    """Somebody who waits, or holds a slot, `since` then."""

    ticket: Ticket
    claim: Claim
    level: int  # of his class
    since: float


class Admission:
    """The slots and the queue of one backend.

    `slots`: how many hold one at a time, 0 for no bound. `bound`: how many may wait.
    """

    def __init__(self, slots: int, bound: int) -> None:
        self.slots = slots
        self.bound = bound
        self.held: dict[Ticket, Entry] = {}
        self.waiting: dict[Ticket, Entry] = {}  # in order of arrival
        self._lines = [Line() for _ in PRIORITIES]
        self._passed = [0 for _ in PRIORITIES]  # slots that went to higher classes while this one waited
        self._service = [1.0 for _ in PRIORITIES]  # seconds that a slot is held, smoothed

    @property
    def is_free(self) -> bool:
        """Whether the next to ask gets a slot at once."""
        return not self.waiting and self._has_room()

    def ask(self, ticket: Ticket, time: float, claim: Claim = PLAIN) -> bool | Full:
        """True: the slot is held from now on. False: it waits; `grant` will name it."""
        entry = Entry(ticket, claim, _LEVELS[claim.priority], time)
        if self.is_free:
            self._hold(ticket, entry)
            return True
        if len(self.waiting) >= self.bound:
            outlook = self.foresee(claim)
            return Full(outlook.ahead, outlook.wait)
        self.waiting[ticket] = entry
        self._lines[entry.level].join(ticket, claim.consumer, claim.tokens)
        return False

    def crowd_out(self, claim: Claim) -> Entry | None:
        """Take somebody out of a full queue who is less entitled to wait than `claim`; None: nobody is, or it has room.

        That is the youngest request of the last class, if it is a lower one; in the same class, of the consumer with
        the most requests, if they are still the most without it.
        """
        ticket = self._find_crowded(claim) if self._is_full() else None
        return None if ticket is None else self._dequeue(ticket)

    def refuses(self, claim: Claim) -> Outlook | None:
        """What somebody with this claim would be told who is refused now; None: he would hold a slot, or wait."""
        return self.foresee(claim) if self._is_full() and self._find_crowded(claim) is None else None

    def grant(self, time: float) -> list[Ticket]:
        """Those who waited and hold a slot from now on."""
        granted = []
        while self.waiting and self._has_room():
            levels = self._waiting_levels()
            level = levels[0] if len(levels) == 1 else min(levels, key=self._rank)
            ticket = self._lines[level].first()
            entry = self._dequeue(ticket)
            self._hold(ticket, Entry(ticket, entry.claim, level, time))
            self._passed[level] = 0
            for lower in levels:
                if lower > level:
                    self._passed[lower] += 1
            granted.append(ticket)
        return granted

    def leave(self, ticket: Ticket, time: float, used: int = -1) -> None:
        """Give a slot back after `used` tokens (-1: as many as it claimed), or stop waiting.

        A ticket that does neither is not known any more, and that is well.
        """
        if ticket in self.waiting:
            self._dequeue(ticket)
        entry = self.held.pop(ticket, None)
        if entry is not None:
            claim, level = entry.claim, entry.level
            self._lines[level].settle(claim.consumer, claim.tokens, claim.tokens if used < 0 else used)
            self._service[level] += (time - entry.since - self._service[level]) / _LEARNING

    def foresee(self, claim: Claim, ticket: Ticket | None = None) -> Outlook:
        """How long `ticket`, which waits, or else a new request would wait from now on."""
        level = _LEVELS[claim.priority]
        before = [line.count for line in self._lines[:level]] + [0 for _ in self._lines[level:]]
        for lower in self._waiting_levels():
            if lower > level and self._rank(lower) < self._rank(level):
                before[lower] = 1  # it has its turn, and begins anew
        before[level] = self._lines[level].ahead(claim.consumer, ticket)
        work = sum(count * service for count, service in zip(before, self._service, strict=True))
        running = [self._service[entry.level] for entry in self.held.values()]
        rest = sum(running) / len(running) if running else self._service[level]
        return Outlook(sum(before), (work + rest) / max(1, self.slots))

    def promise(self, claim: Claim) -> dict[str, Any]:
        """What somebody with this claim would meet now, in words of plain data."""
        outlook = Outlook(0, 0.0) if self.is_free else self.foresee(claim)
        return {"class": claim.priority, "ahead": outlook.ahead, "expected_wait": round(outlook.wait, 1)}

    def expected_wait(self) -> float:
        """Seconds until one more of no special claim would hold a slot."""
        return self.foresee(PLAIN).wait

    def oldest_wait(self, time: float) -> float:
        """Seconds that the first who came has waited."""
        return time - next(iter(self.waiting.values())).since if self.waiting else 0.0

    def lengths(self) -> dict[str, int]:
        """How many of each class wait."""
        return {priority: line.count for priority, line in zip(PRIORITIES, self._lines, strict=True)}

    def _has_room(self) -> bool:
        return self.slots == 0 or len(self.held) < self.slots

    def _is_full(self) -> bool:
        return len(self.waiting) >= self.bound and not self.is_free

    def _find_crowded(self, claim: Claim) -> Ticket | None:
        if not self.waiting:
            return None
        level, last = _LEVELS[claim.priority], self._waiting_levels()[-1]
        line = self._lines[last]
        consumer, count = line.longest()
        if last < level or (last == level and count <= line.length(claim.consumer) + 1):
            return None
        return line.last(consumer)

    def _hold(self, ticket: Ticket, entry: Entry) -> None:
        self.held[ticket] = entry
        self._lines[entry.level].take(entry.claim.consumer, entry.claim.tokens)

    def _dequeue(self, ticket: Ticket) -> Entry:
        entry = self.waiting.pop(ticket)
        line = self._lines[entry.level]
        line.leave(ticket, entry.claim.consumer)
        if not line.count:
            self._passed[entry.level] = 0
        return entry

    def _waiting_levels(self) -> list[int]:
        return [level for level, line in enumerate(self._lines) if line.count]

    def _rank(self, level: int) -> tuple[int, int]:
        """The order of classes; of two equal ones the one that was passed over more often is first."""
        return level - self._passed[level] // _PATIENCE, -self._passed[level]
