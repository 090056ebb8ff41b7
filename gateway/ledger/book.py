"""The state of the ledger and its two operations: decide, which changes nothing, and apply, which cannot fail.

Applying the recorded entries again gives the same state: a restart is a replay. Nothing here reads a clock or a file.
"""

from collections.abc import Callable, Iterator

from gateway.ledger.bucket import LEASE_US, Buckets
from gateway.ledger.counters import Counters, Name
from gateway.ledger.limit import Ask, Denial, Grant, Quota, Rate, Refund, Renew, Return, Slots, Standing
from gateway.ledger.period import Month, month_at
from gateway.ledger.pool import Pools
from gateway.ledger.record import Death, Entry, Settlement, Snapshot
from gateway.ledger.view import QuotaView, View

# A month can be corrected for 35 days after its end. It is named by its first day, at most 32 days before the end of
# the calendar month that follows.
_KEPT_US = 67 * 86_400 * 1_000_000


class Book:
    """Buckets, pools, and the months of quotas. Time is passed in, in microseconds."""

    def __init__(self) -> None:
        self.buckets = Buckets()
        self.pools = Pools()
        self.counters = Counters()
        self._months: dict[tuple[str, int], Month] = {}  # by zone and anchor: the one that was current when last asked

    def decide(self, ask: Ask, now_us: int, wall_us: int) -> Grant | Denial:
        """What the authority answers: rates go by the steady `now_us`, months by `wall_us`."""
        period, lease_us = "", LEASE_US
        views: list[View] = []
        for limit in (need.limit for need in ask.needs):
            if isinstance(limit, Rate):
                views.append(self.buckets.view(limit, now_us))
            elif isinstance(limit, Slots):
                views.append(self.pools.view(limit, now_us))
            else:
                month = self._month(limit, wall_us)
                period, left_us = month.name, month.end_us - wall_us
                lease_us = min(lease_us, left_us)
                views.append(QuotaView(limit, self.counters.used((limit.key, period)), left_us))
        answer = _weigh(ask, views)
        if isinstance(answer, Denial):
            return answer
        lease = _lend(ask, views) if ask.lease and not answer else 0
        costs = [0 if place in answer else need.cost + lease for place, need in enumerate(ask.needs)]
        standings = tuple([view.standing(cost) for view, cost in zip(views, costs, strict=True)])
        return Grant(ask.charge, lease, lease_us if lease else 0, period, standings, answer)

    def apply(self, entry: Entry) -> None:
        """Make the change that `entry` records."""
        match entry.message:
            case Ask() as ask:
                self._take(entry, ask)
            case Refund() as refund:
                self._refund(entry, refund)
            case Renew() as renew:
                for slots in renew.limits:
                    self.pools.renew(slots, renew.charge, entry.at_us)
            case Return() as lease:
                self._end(entry, lease)
            case Settlement() as settlement:
                self.counters.settle(entry.writer, settlement.totals)
            case Death():
                self.pools.bury(entry.writer)

    def _take(self, entry: Entry, ask: Ask) -> None:
        lease = entry.lease
        for need in ask.needs:
            if isinstance(need.limit, Slots):
                self.pools.take(need.limit, ask.charge, need.cost, entry.writer, entry.at_us)
                continue
            self._charge(entry, need.limit, need.cost + lease, entry.period)
            if lease and isinstance(need.limit, Rate):
                self.buckets.open(need.limit, entry.at_us).lend(ask.charge, lease, entry.at_us)

    def _refund(self, entry: Entry, refund: Refund) -> None:
        for need in refund.needs:
            if isinstance(need.limit, Slots):
                self.pools.release(need.limit, refund.charge)
            else:
                self._charge(entry, need.limit, -need.cost, refund.period)

    def _end(self, entry: Entry, lease: Return) -> None:
        for limit in lease.limits:
            if isinstance(limit, Slots):
                continue  # they are not leased
            self._charge(entry, limit, -lease.units, lease.period)
            if isinstance(limit, Rate):
                self.buckets.open(limit, entry.at_us).leases.pop(lease.charge, None)

    def _charge(self, entry: Entry, limit: Rate | Quota, units: int, period: str) -> None:
        """Charge `units`, or refund where negative."""
        if not units:
            return
        if isinstance(limit, Rate):
            self.buckets.open(limit, entry.at_us).move(entry.at_us, units)
            return
        self.counters.charge(entry.writer, (limit.key, period), units)

    def _month(self, quota: Quota, wall_us: int) -> Month:
        place = (quota.zone, quota.anchor)
        month = self._months.get(place)
        if month is None or not month.start_us <= wall_us < month.end_us:
            month = self._months[place] = month_at(wall_us, *place)
        return month

    def clamp(self, now_us: int) -> None:
        """Bring back what lies too far ahead, because the wall clock was set back between two boots."""
        self.buckets.clamp(now_us)
        self.pools.clamp(now_us)

    def export(self, now_us: int) -> Snapshot:
        """The whole state but full buckets and free pools, which are as good as absent."""
        return self._cut(self.buckets.keys(), self.pools.keys(), self.counters.names(), now_us)

    def export_pieces(self, size: int, steady_us: Callable[[], int], wall_us: int) -> Iterator[Snapshot]:
        """The state in pieces of `size` of each kind, each as it is when it is asked for. Forgets what is long past.

        What comes to be after the first piece is in none of them.
        """
        buckets, pools, names = self.buckets.keys(), self.pools.keys(), self.counters.names()
        oldest = month_at(wall_us - _KEPT_US, "UTC").name
        for begin in range(0, max(len(buckets), len(pools), len(names), 1), size):
            part = slice(begin, begin + size)
            self.counters.forget(names[part], oldest)
            yield self._cut(buckets[part], pools[part], names[part], steady_us())

    def _cut(self, buckets: list[str], pools: list[str], names: list[Name], now_us: int) -> Snapshot:
        return Snapshot(
            dict(self.buckets.export(buckets, now_us)), tuple(self.counters.export(names)),
            dict(self.counters.export_charges(names)), dict(self.pools.export(pools, now_us)),
        )  # fmt: skip

    def restore(self, snapshot: Snapshot) -> None:
        """Take over an exported state, or a piece of one, in place of what is known of its parts."""
        for key, image in snapshot.buckets.items():
            self.buckets.restore(key, image)
        for key, pool in snapshot.pools.items():
            self.pools.restore(key, pool)
        self.counters.restore(snapshot.months, snapshot.charges)


def _weigh(ask: Ask, views: list[View]) -> tuple[int, ...] | Denial:
    """Whether all needs fit: the denial, or the places of those in shadow that do not."""
    shadowed: tuple[int, ...] = ()
    wait_us = refuses = 0
    for index, (view, need) in enumerate(zip(views, ask.needs, strict=True)):
        need_us = view.wait_us(need.cost)
        if not need_us:
            continue
        if need.shadow:
            shadowed += (index,)
        elif not view.can_ever(need.cost):
            return Denial(ask.charge, index, 0, _stand(views), True)
        elif need_us > wait_us:
            wait_us, refuses = need_us, index
    return Denial(ask.charge, refuses, wait_us, _stand(views), False) if wait_us else shadowed


def _stand(views: list[View]) -> tuple[Standing, ...]:
    return tuple([view.standing(0) for view in views])


def _lend(ask: Ask, views: list[View]) -> int:
    """The lease that every limit allows; 0 where it would not pay for one more request like this one."""
    pairs = list(zip(views, ask.needs, strict=True))
    lease = min(ask.lease, *(view.leasable(need.cost) for view, need in pairs))
    return lease if lease >= max(need.cost for _, need in pairs) else 0
