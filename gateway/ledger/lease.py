"""The worker's wallet: it spends units that the authority has already debited, and asks when it holds none."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from gateway.ledger.limit import Ask, Denial, Grant, Limit, Refund, Return, Standing

Send = Callable[[Ask], "asyncio.Future[Grant | Denial]"]
Tell = Callable[[Refund | Return], None]


class Account:
    """Limits that are always charged together, compiled once and kept by the caller.

    `key` is equal where all limits are equal. Raises ValueError for no limit, or for months of different zones:
    a charge belongs to one month.
    """

    __slots__ = ("key", "limits")

    def __init__(self, limits: tuple[Limit, ...]) -> None:
        self.key = repr(limits)
        self.limits = limits


class Charge(msgspec.Struct, eq=False):
    """What one request was charged: `cost` milli-units to every limit of `account`, in the month `period`."""

    account: Account
    id: str
    cost: int
    period: str

    @property
    def standings(self) -> tuple[Standing, ...]:
        """How the limits stand after this charge, in the order of the account's limits."""
        raise NotImplementedError


class Wallet:
    """Charges requests against accounts. One per worker; not for several threads.

    `send` carries an Ask to the authority and returns a future of its own (the wallet shields it from the request's
    cancellation), failed with LedgerDown when the authority cannot be asked. `tell` never blocks, fails or answers.
    `clock` is monotonic seconds.
    """

    def __init__(self, send: Send, tell: Tell, clock: Callable[[], float]) -> None:
        self._send = send
        self._tell = tell
        self._clock = clock

    def take(self, account: Account, charge: str, cost: int) -> Charge | Denial | Awaitable[Charge | Denial]:
        """Charge `cost` milli-units (more than 0) to every limit of the account, or to none.

        Answers at once when a held lease covers it or a denial still stands; else the awaitable asks the authority
        and raises LedgerDown when that cannot be done.
        """
        raise NotImplementedError

    def refund(self, charge: Charge) -> None:
        """Give the whole charge back to the authority. Only the first refund or settlement of a charge counts."""
        self.settle(charge, 0)

    def settle(self, charge: Charge, used: int) -> None:
        """Correct the charge to `used` milli-units: the rest is refunded, an overrun becomes debt. Once per charge."""
        raise NotImplementedError

    def sweep(self, now: float) -> None:
        """Give back what lies idle or has expired. To be called every 0.1 s."""
        raise NotImplementedError

    def drain(self) -> None:
        """Give back every lease. Takes after this ask for each request."""
        raise NotImplementedError
