"""How one limit stands at one moment, whichever kind it is: the questions a decision asks."""

from typing import Protocol

from gateway.ledger import gcra
from gateway.ledger.limit import Quota, Slots, Standing

_PAUSE_US = 1_000_000  # slots come free when somebody is done: nobody knows when


class View(Protocol):
    """One limit, now. Units are milli-units."""

    def can_ever(self, cost: int) -> bool:
        """Whether `cost` would fit an unused limit."""

    def wait_us(self, cost: int) -> int:
        """Time until `cost` fits; 0: now. Meaningless, but more than 0, where it never does."""

    def leasable(self, cost: int) -> int:
        """Units that may be leased beyond a `cost` that fits."""

    def standing(self, units: int) -> Standing:
        """The figures after `units` more are charged."""


class RateView:
    """A bucket with `backlog` ticks, of which `leased` units are in the hands of workers.

    At most 1 % of the burst is out on lease at any time, over all workers: that is all by which leases can exceed the
    rate. A burst whose hundredth is less than two units is not leased at all.
    """

    __slots__ = ("_backlog", "_leased", "_pace")

    def __init__(self, pace: gcra.Pace, backlog: int, leased: int) -> None:
        self._pace = pace
        self._backlog = backlog
        self._leased = leased

    def can_ever(self, cost: int) -> bool:
        return cost * self._pace.step <= self._pace.burst

    def wait_us(self, cost: int) -> int:
        return gcra.wait_us(self._pace, self._backlog, cost)

    def leasable(self, cost: int) -> int:
        share = self._pace.burst // self._pace.step // 100_000  # whole units
        if share < 2:
            return 0
        return max(min(1000 * share - self._leased, gcra.free(self._pace, self._backlog) - cost), 0)

    def standing(self, units: int) -> Standing:
        pace, backlog = self._pace, self._backlog + units * self._pace.step
        return Standing(gcra.free(pace, backlog), gcra.reset_us(pace, backlog), gcra.used(pace, backlog))


class QuotaView:
    """A month's counter with `used` units, `left_us` before the month ends.

    Leases cannot exceed a month, as they are charged before they are spent; 1 % keeps one worker from hoarding it.
    """

    __slots__ = ("_left_us", "_limit", "_used")

    def __init__(self, quota: Quota, used: int, left_us: int) -> None:
        self._limit = 1000 * quota.limit
        self._used = used
        self._left_us = left_us

    def can_ever(self, cost: int) -> bool:
        return cost <= self._limit

    def wait_us(self, cost: int) -> int:
        return 0 if self._used + cost <= self._limit else self._left_us

    def leasable(self, cost: int) -> int:
        return max(min(1000 * (self._limit // 100_000), self._limit - self._used - cost), 0)

    def standing(self, units: int) -> Standing:
        used = self._used + units
        return Standing(max(self._limit - used, 0), self._left_us, used)


class SlotsView:
    """A pool with `used` units in use. Nothing of it is leased: what one worker held idle would be in use."""

    __slots__ = ("_limit", "_used")

    def __init__(self, slots: Slots, used: int) -> None:
        self._limit = 1000 * slots.limit
        self._used = used

    def can_ever(self, cost: int) -> bool:
        return cost <= self._limit

    def wait_us(self, cost: int) -> int:
        return 0 if self._used + cost <= self._limit else _PAUSE_US

    def leasable(self, cost: int) -> int:
        return 0

    def standing(self, units: int) -> Standing:
        used = self._used + units
        return Standing(max(self._limit - used, 0), 0, used)
