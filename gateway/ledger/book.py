"""The state of the ledger and its two operations: decide, which changes nothing, and apply, which cannot fail.

Applying the recorded entries again gives the same state: a restart is a replay. Nothing here reads a clock or a file.
"""

from gateway.ledger.bucket import LEASE_US, Buckets
from gateway.ledger.limit import Ask, Denial, Grant, Limit, Rate, Refund, Return, Standing
from gateway.ledger.period import Month, month_at
from gateway.ledger.record import Entry, Settlement, Snapshot
from gateway.ledger.view import QuotaView, View

_KEPT_US = 35 * 86_400 * 1_000_000  # how long after its end a month can still be corrected


class Book:
    """Buckets, the units used of each month, and who was charged them. Time is passed in, in microseconds."""

    def __init__(self) -> None:
        self.buckets = Buckets()
        self.charges: dict[str, dict[tuple[str, str], int]] = {}  # by writer, then by (quota key, period)
        self._used: dict[tuple[str, str], int] = {}
        self._months: dict[str, Month] = {}  # by zone: the month that was current when it was last asked for

    def decide(self, ask: Ask, now_us: int, wall_us: int) -> Grant | Denial:
        """What the authority answers: rates go by the steady `now_us`, months by `wall_us`."""
        period, lease_us = "", LEASE_US
        views: list[View] = []
        for limit in (need.limit for need in ask.needs):
            if isinstance(limit, Rate):
                views.append(self.buckets.view(limit, now_us))
            else:
                month = self._month(limit.zone, wall_us)
                period, left_us = month.name, month.end_us - wall_us
                lease_us = min(lease_us, left_us)
                views.append(QuotaView(limit, self._used.get((limit.key, period), 0), left_us))
        denial = _refuse(ask, views)
        if denial is not None:
            return denial
        lease = _lend(ask, views) if ask.lease else 0
        standings = tuple([view.standing(need.cost + lease) for view, need in zip(views, ask.needs, strict=True)])
        return Grant(ask.charge, lease, lease_us if lease else 0, period, standings)

    def apply(self, entry: Entry) -> None:
        """Make the change that `entry` records."""
        message, lease = entry.message, entry.lease
        match message:
            case Ask():
                for need in message.needs:
                    self._charge(entry, need.limit, need.cost + lease, entry.period)
                    if lease and isinstance(need.limit, Rate):
                        self.buckets.open(need.limit, entry.at_us).lend(message.charge, lease, entry.at_us)
            case Refund():
                for need in message.needs:
                    self._charge(entry, need.limit, -need.cost, message.period)
            case Return():
                for limit in message.limits:
                    self._charge(entry, limit, -message.units, message.period)
                    if isinstance(limit, Rate):
                        self.buckets.open(limit, entry.at_us).leases.pop(message.charge, None)
            case Settlement():
                self._settle(entry.writer, message)

    def _charge(self, entry: Entry, limit: Limit, units: int, period: str) -> None:
        """Charge `units`, or refund where negative; a month never gives back more than the writer was charged."""
        if isinstance(limit, Rate):
            self.buckets.open(limit, entry.at_us).move(entry.at_us, units)
            return
        charges = self.charges.get(entry.writer)
        if charges is None:
            if units <= 0:
                return
            charges = self.charges[entry.writer] = {}
        name = (limit.key, period)
        charged = charges.get(name, 0)
        charges[name] = max(charged + units, 0)
        self._used[name] = self._used.get(name, 0) + charges[name] - charged

    def _settle(self, writer: str, settlement: Settlement) -> None:
        charges = self.charges.pop(writer)
        totals = {(key, period): units for key, period, units in settlement.totals}
        for name in charges.keys() | totals.keys():
            self._used[name] = self._used.get(name, 0) + totals.get(name, 0) - charges.get(name, 0)

    def _month(self, zone: str, wall_us: int) -> Month:
        month = self._months.get(zone)
        if month is None or not month.start_us <= wall_us < month.end_us:
            month = self._months[zone] = month_at(wall_us, zone)
        return month

    def trim(self, wall_us: int) -> None:
        """Forget months that ended more than 35 days ago."""
        oldest = month_at(wall_us - _KEPT_US, "UTC").name
        self._used = {name: used for name, used in self._used.items() if name[1] >= oldest}
        for writer, charges in self.charges.items():
            self.charges[writer] = {name: units for name, units in charges.items() if name[1] >= oldest}

    def export(self, now_us: int) -> Snapshot:
        """The whole state but full buckets, which are as good as absent."""
        charges = {writer: _flatten(units) for writer, units in self.charges.items()}
        return Snapshot(dict(self.buckets.export(now_us)), _flatten(self._used), charges)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over an exported state; to be called on an empty book."""
        for key, image in snapshot.buckets.items():
            self.buckets.restore(key, image)
        self._used = _unflatten(snapshot.months)
        self.charges = {writer: _unflatten(units) for writer, units in snapshot.charges.items()}


def _refuse(ask: Ask, views: list[View]) -> Denial | None:
    waits = []
    for index, (view, need) in enumerate(zip(views, ask.needs, strict=True)):
        if not view.can_ever(need.cost):
            return Denial(ask.charge, index, 0, _stand(views), True)
        waits.append(view.wait_us(need.cost))
    wait = max(waits)
    return Denial(ask.charge, waits.index(wait), wait, _stand(views), False) if wait else None


def _stand(views: list[View]) -> tuple[Standing, ...]:
    return tuple([view.standing(0) for view in views])


def _lend(ask: Ask, views: list[View]) -> int:
    """The lease that every limit allows; 0 where it would not pay for one more request like this one."""
    pairs = list(zip(views, ask.needs, strict=True))
    lease = min(ask.lease, *(view.leasable(need.cost) for view, need in pairs))
    return lease if lease >= max(need.cost for _, need in pairs) else 0


def _flatten(units: dict[tuple[str, str], int]) -> tuple[tuple[str, str, int], ...]:
    return tuple([(key, period, count) for (key, period), count in units.items()])


def _unflatten(rows: tuple[tuple[str, str, int], ...]) -> dict[tuple[str, str], int]:
    return {(key, period): units for key, period, units in rows}
