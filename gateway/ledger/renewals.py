"""When slots that requests have in use must be renewed: pure book-keeping, `now` is seconds on the worker's clock."""

from collections import OrderedDict

from gateway.ledger.account import Charge
from gateway.ledger.limit import Renew

_PARTS = 3  # a hold is renewed that often before it would end


class Renewals:
    """The charges that hold slots, until they are discarded."""

    def __init__(self) -> None:
        # by interval; the next one due first, with when that is
        self._charges: dict[float, OrderedDict[Charge, float]] = {}

    def add(self, charge: Charge, asked: float) -> None:
        """A charge asked for at `asked`; no more than a glance at one that holds none."""
        slots = charge.slots()
        if slots:
            pause = min(pool.ttl_us for pool in slots) / _PARTS / 1e6
            self._charges.setdefault(pause, OrderedDict())[charge] = asked + pause

    def discard(self, charge: Charge) -> None:
        """A charge that is settled."""
        if not charge.account.is_leasable:
            for charges in self._charges.values():
                charges.pop(charge, None)

    def pop_due(self, now: float) -> list[Renew]:
        """What must be told now."""
        due = []
        for pause, charges in self._charges.items():
            while charges:
                charge = next(iter(charges))
                if charges[charge] > now:
                    break
                charges[charge] = now + pause
                charges.move_to_end(charge)
                due.append(Renew(charge.id, charge.slots()))
        return due
