"""What a request is charged to, and what it was charged."""

from zoneinfo import ZoneInfo

import msgspec

from gateway.ledger.limit import Limit, Need, Quota, Standing

Cost = int | tuple[int, ...]
"""Milli-units of every limit alike, or one figure for each limit of an account."""


class Account:
    """Limits that are always charged together, compiled once and kept by the caller; those in `shadow` never refuse.

    `key` is equal where all limits are equal. Raises ValueError for no limit, for a key that stands twice, and for
    quotas of different or unknown zones.
    """

    __slots__ = ("key", "limits", "shadow")

    def __init__(self, limits: tuple[Limit, ...], shadow: frozenset[int] = frozenset()) -> None:
        if not limits or len({limit.key for limit in limits}) < len(limits):
            raise ValueError("an account needs limits of different keys")
        zones = {limit.zone for limit in limits if isinstance(limit, Quota)}
        if len(zones) > 1:
            raise ValueError(f"the quotas of an account must name one zone, not {', '.join(sorted(zones))}")
        for zone in zones:
            _check_zone(zone)
        self.key = repr((limits, sorted(shadow)))
        self.limits = limits
        self.shadow = shadow

    def needs(self, cost: Cost) -> tuple[Need, ...]:
        """`cost` as the ledger is asked for it."""
        costs = (cost,) * len(self.limits) if isinstance(cost, int) else cost
        pairs = zip(self.limits, costs, strict=True)
        return tuple([Need(limit, cost, at in self.shadow) for at, (limit, cost) in enumerate(pairs)])


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, OSError) as error:  # OSError: a folder of zones
        raise ValueError(f"unknown time zone {zone!r}") from error


class Charge(msgspec.Struct, eq=False):
    """What one request was charged: `cost` milli-units to every limit of `account`, in the month `period`.

    `figures` are the authority's, `age` seconds old; `held` units of a lease count as used in them but are not spent.
    """

    account: Account
    id: str
    cost: int
    period: str
    figures: tuple[Standing, ...]
    held: int
    age: float
    is_settled: bool = False

    @property
    def standings(self) -> tuple[Standing, ...]:
        """How the limits stand after this charge, in the order of the account's limits."""
        return update(self.figures, self.held, self.age)


def update(figures: tuple[Standing, ...], held: int, age: float) -> tuple[Standing, ...]:
    """Figures as they are `age` seconds later for one who holds `held` units of them."""
    passed_us = round(age * 1e6)
    return tuple([Standing(s.remaining + held, max(s.reset_us - passed_us, 0), s.used - held) for s in figures])
