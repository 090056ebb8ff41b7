"""What a worker knows of one account: the lease it holds, the denial it heard last, and what it spent lately."""

from gateway.ledger.account import Account, Charge, update
from gateway.ledger.limit import Denial, Grant, Return

_TRUST = 1.0  # seconds for which a denial is repeated without asking again, and over which spending is counted
_NONE = Grant("", 0, 0, "", ())


class Holding:
    """Pure book-keeping: `now` is seconds on the worker's clock. `units` of `lease` may be spent before `ends`."""

    __slots__ = (
        "_denial",
        "_previous",
        "_since",
        "_spent",
        "account",
        "asked",
        "ends",
        "is_asking",
        "lease",
        "units",
        "used",
    )

    def __init__(self, account: Account, now: float) -> None:
        self.account = account
        self.lease = _NONE
        self.units = 0
        self.asked = 0.0  # when the lease was asked for
        self.ends = 0.0
        self.used = 0.0  # when the lease was last spent from
        self.is_asking = False  # a lease is on its way
        self._denial: tuple[Denial, int, float, float] | None = None  # with its cost, when asked, repeated until
        self._since = now
        self._spent = 0  # since then
        self._previous = 0  # in the time before

    def spend(self, charge: str, cost: int, now: float) -> Charge | None:
        """Pay from the lease, if it covers the cost."""
        if cost > self.units or now >= self.ends:
            return None
        self.units -= cost
        self.used = now
        lease = self.lease
        return Charge(self.account, charge, cost, lease.period, lease.standings, self.units, now - self.asked)

    def accept(self, lease: Grant, asked: float) -> None:
        """Hold a lease that was asked for at `asked`."""
        self.lease, self.units = lease, lease.lease
        self.asked = self.used = asked
        self.ends = asked + lease.lease_us / 1e6

    def close(self, now: float) -> Return | None:
        """Hold nothing any more. Returns what the authority must be told, if a lease was held."""
        if self.lease is _NONE:
            return None
        lease, units = self.lease, self.units
        self.lease, self.units = _NONE, 0
        self.count(lease.lease - units, now)
        return Return(lease.charge, self.account.limits, units, lease.period)

    def count(self, units: int, now: float) -> None:
        """Note that `units` were spent."""
        passed = now - self._since
        if passed >= _TRUST:
            self._previous = self._spent if passed < 2 * _TRUST else 0
            self._since, self._spent = now, 0
        self._spent += units

    def demand(self, now: float) -> int:
        """The lease to ask for: what was lately spent in the time that a lease lasts. 0 for one seen first."""
        self.count(0, now)
        return max(self._spent, self._previous)

    def deny(self, denial: Denial, cost: int, asked: float) -> None:
        """Remember a denial until its wait ends, but no longer than other workers' refunds may stay unheard of."""
        lasts = _TRUST if denial.unsatisfiable else min(denial.wait_us / 1e6, _TRUST)
        self._denial = (denial, cost, asked, asked + lasts)

    def repeat_denial(self, charge: str, cost: int, now: float) -> Denial | None:
        """The denial that still stands for this cost."""
        if self._denial is None:
            return None
        denial, least, asked, until = self._denial
        if now >= until:
            self._denial = None
        if now >= until or cost < least:
            return None
        standings = update(denial.standings, 0, now - asked)
        wait_us = max(denial.wait_us - round((now - asked) * 1e6), 0)
        return Denial(charge, denial.index, wait_us, standings, denial.unsatisfiable)

    def forget_denial(self) -> None:
        """Ask again: something was refunded."""
        self._denial = None
