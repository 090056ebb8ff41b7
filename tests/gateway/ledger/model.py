"""What the ledger must do, told a second time and naively: buckets of fractions that flow back, counters, lists.

It shares no formula with the code under test, which knows only arrival times in integers.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import ceil, floor
from typing import Protocol
from zoneinfo import ZoneInfo

from gateway.ledger.limit import Ask, Denial, Grant, Limit, Need, Quota, Rate, Refund, Renew, Return, Slots, Standing

SECOND = 1_000_000
START_US = 1_795_219_200 * SECOND  # 2026-11-21T00:00:00Z
MONTH, MONTH_ENDS_US = "2026-11", 1_796_083_200 * SECOND
DEBT = 4  # bursts


@dataclass
class Bucket:
    """Whole units, as fractions, of one rate."""

    rate: Rate
    now_us: int
    units: Fraction = field(init=False)

    def __post_init__(self) -> None:
        self.units = Fraction(self.rate.burst)

    @property
    def speed(self) -> Fraction:
        return Fraction(self.rate.count, self.rate.period_us)

    def flow(self, now_us: int) -> None:
        self.units = min(self.units + self.speed * (now_us - self.now_us), Fraction(self.rate.burst))
        self.now_us = now_us

    def move(self, cost: int) -> None:
        burst = self.rate.burst
        self.units = min(max(self.units - Fraction(cost, 1000), Fraction(-DEBT * burst)), Fraction(burst))

    def wait_us(self, cost: int) -> int:
        return max(ceil((Fraction(cost, 1000) - self.units) / self.speed), 0)

    def standing(self) -> Standing:
        missing = self.rate.burst - self.units
        return Standing(max(floor(self.units * 1000), 0), ceil(missing / self.speed), ceil(missing * 1000))


@cache
def begin_of(day: date, zone: str) -> datetime:
    """The first minute that the calendars of `zone` show `day`, or, where they never do, a later one."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(ZoneInfo(zone)).date() < day:
        moment += timedelta(minutes=1)
    return moment


def begins_near(wall_us: int, quota: Quota) -> list[tuple[datetime, date]]:
    """When months of `quota` begin, and on which day, from two calendar months before a wall time to two after."""
    now = datetime.fromtimestamp(wall_us // SECOND, UTC)
    begins = []
    for index in range(now.year * 12 + now.month - 3, now.year * 12 + now.month + 2):
        year, month = index // 12, index % 12 + 1
        last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
        day = date(year, month, quota.anchor if quota.anchor <= last else last)
        begins.append((begin_of(day, quota.zone), day))
    return begins


def find_month(wall_us: int, quota: Quota) -> tuple[str, int]:
    """The month's name and the wall time of its end."""
    begins = begins_near(wall_us, quota)
    for (begin, day), (end, _) in pairwise(begins):
        if int(begin.timestamp()) * SECOND <= wall_us < int(end.timestamp()) * SECOND:
            name = f"{day.year:04}-{day.month:02}" + (f"-{day.day:02}" if quota.anchor > 1 else "")
            return name, int(end.timestamp()) * SECOND
    raise AssertionError("months have a gap")


class Time(Protocol):
    """A `Site` is one."""

    now_us: int

    @property
    def wall_us(self) -> int: ...


class Model:
    """An authority that lends nothing; its `ask` tells what a `peek` would, too."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._buckets: dict[str, Bucket] = {}
        self._holds: dict[str, dict[str, tuple[int, int]]] = {}  # pool: charge: units, end
        self._charges: dict[str, Counter[tuple[str, str]]] = {}  # writer: (key, period): units
        self._settled: Counter[tuple[str, str]] = Counter()

    def ask(self, writer: str, ask: Ask) -> Grant | Denial:
        waits = [self._wait_us(need) for need in ask.needs]
        shadowed = tuple(place for place, wait in enumerate(waits) if ask.needs[place].shadow and wait != 0)
        refusals = [(wait, place) for place, wait in enumerate(waits) if wait != 0 and place not in shadowed]
        for wait, place in refusals:
            if wait is None:
                return Denial(ask.charge, place, 0, self._stand(ask), True)
        if refusals:
            longest = max(wait or 0 for wait, _ in refusals)
            first = next(place for wait, place in refusals if wait == longest)
            return Denial(ask.charge, first, longest, self._stand(ask), False)
        self._charge(writer, ask, [need for place, need in enumerate(ask.needs) if place not in shadowed])
        return Grant(ask.charge, 0, 0, self._period(ask), self._stand(ask), shadowed)

    def refund(self, writer: str, refund: Refund) -> None:
        for need in refund.needs:
            match need.limit:
                case Rate():
                    self._bucket(need.limit).move(-need.cost)
                case Quota():
                    self._count(writer, (need.limit.key, refund.period), -need.cost)
                case Slots():
                    self._holds.get(need.limit.key, {}).pop(refund.charge, None)

    def renew(self, writer: str, renew: Renew) -> None:
        now_us = self._time.now_us
        for slots in renew.limits:
            holds = self._holds.get(slots.key, {})
            if renew.charge in holds and holds[renew.charge][1] > now_us:
                holds[renew.charge] = (holds[renew.charge][0], now_us + slots.ttl_us)

    def give_back(self, writer: str, lease: Return) -> None:
        raise AssertionError("nothing was lent")

    def settle(self, writer: str, totals: Mapping[tuple[str, str], int]) -> bool:
        if writer not in self._charges:
            return False
        del self._charges[writer]
        self._settled.update(totals)
        return True

    def _wait_us(self, need: Need) -> int | None:
        """0: it fits; None: it never does."""
        limit, cost = need.limit, need.cost
        if cost > 1000 * (limit.burst if isinstance(limit, Rate) else limit.limit):
            return None
        if isinstance(limit, Rate):
            return self._bucket(limit).wait_us(cost)
        if self._used(limit) + cost <= 1000 * limit.limit:
            return 0
        return SECOND if isinstance(limit, Slots) else self._reset_us(limit)

    def _charge(self, writer: str, ask: Ask, needs: list[Need]) -> None:
        for need in needs:
            match need.limit:
                case Rate():
                    self._bucket(need.limit).move(need.cost)
                case Quota():
                    self._count(writer, (need.limit.key, self._period(ask)), need.cost)
                case Slots() if need.cost:
                    end_us = self._time.now_us + need.limit.ttl_us
                    self._holds.setdefault(need.limit.key, {})[ask.charge] = (need.cost, end_us)

    def _count(self, writer: str, name: tuple[str, str], units: int) -> None:
        """A writer gets back no more than it was charged."""
        if units > 0 or writer in self._charges:
            charges = self._charges.setdefault(writer, Counter())
            charges[name] = max(charges[name] + units, 0)

    def _stand(self, ask: Ask) -> tuple[Standing, ...]:
        return tuple(self._standing(need.limit) for need in ask.needs)

    def _standing(self, limit: Limit) -> Standing:
        if isinstance(limit, Rate):
            return self._bucket(limit).standing()
        used = self._used(limit)
        return Standing(max(1000 * limit.limit - used, 0), self._reset_us(limit), used)

    def _used(self, limit: Quota | Slots) -> int:
        if isinstance(limit, Slots):
            return sum(units for units, end_us in self._holds.get(limit.key, {}).values() if end_us > self._time.now_us)
        name = (limit.key, find_month(self._time.wall_us, limit)[0])
        return self._settled[name] + sum(charges[name] for charges in self._charges.values())

    def _reset_us(self, limit: Quota | Slots) -> int:
        return 0 if isinstance(limit, Slots) else find_month(self._time.wall_us, limit)[1] - self._time.wall_us

    def _period(self, ask: Ask) -> str:
        quotas = [need.limit for need in ask.needs if isinstance(need.limit, Quota)]
        return find_month(self._time.wall_us, quotas[0])[0] if quotas else ""

    def _bucket(self, rate: Rate) -> Bucket:
        bucket = self._buckets.setdefault(rate.key, Bucket(rate, self._time.now_us))
        bucket.flow(self._time.now_us)
        return bucket
