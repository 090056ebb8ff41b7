"""What the ledger must do, told a second time in fractions: buckets of units that flow back, and a counter per month.

It shares no formula with the code under test, which knows only arrival times in integers.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from gateway.ledger.limit import Ask, Denial, Grant, Need, Quota, Rate, Standing

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


@dataclass
class Month:
    """Milli-units used of one quota in November 2026."""

    quota: Quota
    now_us: int
    used: int = 0

    def flow(self, now_us: int) -> None:
        self.now_us = now_us

    def move(self, cost: int) -> None:
        self.used = max(self.used + cost, 0)

    def wait_us(self, cost: int) -> int:
        return 0 if self.used + cost <= 1000 * self.quota.limit else MONTH_ENDS_US - self.now_us

    def standing(self) -> Standing:
        return Standing(max(1000 * self.quota.limit - self.used, 0), MONTH_ENDS_US - self.now_us, self.used)


class Model:
    """An authority for one writer, without leases, in November 2026."""

    def __init__(self) -> None:
        self._limits: dict[str, Bucket | Month] = {}

    def ask(self, ask: Ask, now_us: int) -> Grant | Denial:
        limits = [self._find(need, now_us) for need in ask.needs]
        wait_us, refuses = 0, 0
        for index, (limit, need) in enumerate(zip(limits, ask.needs, strict=True)):
            if need.cost > 1000 * (need.limit.burst if isinstance(need.limit, Rate) else need.limit.limit):
                return Denial(ask.charge, index, 0, tuple(limit.standing() for limit in limits), True)
            if limit.wait_us(need.cost) > wait_us:
                wait_us, refuses = limit.wait_us(need.cost), index
        if wait_us:
            return Denial(ask.charge, refuses, wait_us, tuple(limit.standing() for limit in limits), False)
        self._move(limits, ask.needs, 1)
        period = MONTH if any(isinstance(need.limit, Quota) for need in ask.needs) else ""
        return Grant(ask.charge, 0, 0, period, tuple(limit.standing() for limit in limits))

    def refund(self, needs: tuple[Need, ...], now_us: int) -> None:
        self._move([self._find(need, now_us) for need in needs], needs, -1)

    def _move(self, limits: list[Bucket | Month], needs: tuple[Need, ...], sign: int) -> None:
        for limit, need in zip(limits, needs, strict=True):
            limit.move(sign * need.cost)

    def _find(self, need: Need, now_us: int) -> Bucket | Month:
        limit = self._limits.get(need.limit.key)
        if limit is None:
            made = Bucket(need.limit, now_us) if isinstance(need.limit, Rate) else Month(need.limit, now_us)
            limit = self._limits[need.limit.key] = made
        limit.flow(now_us)
        return limit
