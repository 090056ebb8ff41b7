"""What a request is charged to, and what it was charged."""

from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from gateway.ledger.limit import Limit, Need, Quota, Refund, Slots, Standing

Policy = Literal["local", "closed", "open"]
Cost = int | tuple[int, ...]
"""Milli-units of every limit alike, or one figure for each limit of an account."""


class Account:
    """Limits that are always charged together, compiled once and kept by the caller; those in `shadow` never refuse.

    `key` is equal where all limits are equal. `is_leasable`: units of it may be held idle, which slots in use are not,
    and what a limit in shadow lets pass must be seen by the authority. Raises ValueError for no limit, for a key that
    stands twice, for quotas of different or unknown zones or different anchors, and for a shadow of nothing. `policy`
    says what happens while an authority that replicas share cannot be asked: this one's share of the rates is spent
    (local), nothing is granted (closed) or everything is (open).
    """

    __slots__ = ("is_leasable", "key", "limits", "policy", "shadow")

    def __init__(
        self, limits: tuple[Limit, ...], shadow: frozenset[int] = frozenset(), *, policy: Policy = "local"
    ) -> None:
        if not limits or len({limit.key for limit in limits}) < len(limits):
            raise ValueError("an account needs limits of different keys")
        months = {(limit.zone, limit.anchor) for limit in limits if isinstance(limit, Quota)}
        if len(months) > 1:
            raise ValueError(f"the quotas of an account must name one zone and one anchor, not {sorted(months)}")
        for zone, anchor in months:
            _check_zone(zone)
            if not 1 <= anchor <= 31:
                raise ValueError(f"a month cannot begin on day {anchor}")
        if not shadow <= set(range(len(limits))):
            raise ValueError("what is in shadow must be a limit of the account")
        self.key = repr((limits, sorted(shadow), policy))
        self.limits = limits
        self.shadow = shadow
        self.policy = policy
        self.is_leasable = not shadow and not any(isinstance(limit, Slots) for limit in limits)

    def needs(self, cost: Cost) -> tuple[Need, ...]:
        """`cost` as the ledger is asked for it."""
        if isinstance(cost, int) and not self.shadow:
            return tuple([Need(limit, cost) for limit in self.limits])
        pairs = zip(self.limits, self.spread(cost), strict=True)
        return tuple([Need(limit, cost, at in self.shadow) for at, (limit, cost) in enumerate(pairs)])

    def spread(self, cost: Cost) -> tuple[int, ...]:
        """One figure for each limit."""
        return (cost,) * len(self.limits) if isinstance(cost, int) else cost


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, OSError) as error:  # OSError: a folder of zones
        raise ValueError(f"unknown time zone {zone!r}") from error


class Charge(msgspec.Struct, eq=False):
    """What one request was charged: `cost` milli-units, in the month `period`. Limits in `shadowed` were not charged.

    `figures` are the authority's, `age` seconds old; `held` units of a lease count as used in them but are not spent.
    """

    account: Account
    id: str
    cost: Cost
    period: str
    figures: tuple[Standing, ...]
    held: int
    age: float
    is_settled: bool = False
    shadowed: tuple[int, ...] = ()  # places of limits in shadow that would have refused
    mode: str = ""  # "degraded": granted without the authority that replicas share

    def slots(self) -> tuple[Slots, ...]:
        """The pools of which it holds units."""
        if self.account.is_leasable:
            return ()
        pairs = enumerate(zip(self.account.limits, self.account.spread(self.cost), strict=True))
        held = [limit for place, (limit, cost) in pairs if cost and place not in self.shadowed]
        return tuple([limit for limit in held if isinstance(limit, Slots)])

    def correct(self, used: Cost) -> Refund | None:
        """What to tell the authority when `used` milli-units were truly used: slots go back, whatever it says of them.

        None where nothing is to be corrected.
        """
        account, cost = self.account, self.cost
        if account.is_leasable and isinstance(cost, int) and isinstance(used, int):
            return Refund(self.id, account.needs(cost - used), self.period, self.mode) if used != cost else None
        triples = zip(account.limits, account.spread(cost), account.spread(used), strict=True)
        needs = [
            Need(limit, taken if isinstance(limit, Slots) else taken - spent)
            for place, (limit, taken, spent) in enumerate(triples)
            if place not in self.shadowed
        ]
        kept = tuple([need for need in needs if need.cost])
        return Refund(self.id, kept, self.period, self.mode) if kept else None

    @property
    def standings(self) -> tuple[Standing, ...]:
        """How the limits stand after this charge, in the order of the account's limits."""
        return update(self.figures, self.held, self.age)


def update(figures: tuple[Standing, ...], held: int, age: float) -> tuple[Standing, ...]:
    """Figures as they are `age` seconds later for one who holds `held` units of them."""
    passed_us = round(age * 1e6)
    return tuple([Standing(s.remaining + held, max(s.reset_us - passed_us, 0), s.used - held) for s in figures])
